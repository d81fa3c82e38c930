//! The host: memory, swap, load, processor.
//!
//! In a container, or under a service's limit, memory is what may be had there, not what the machine has.

use std::fs;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use sysinfo::{CpuRefreshKind, MINIMUM_CPU_UPDATE_INTERVAL, System};

use crate::devices::{DeviceKind, DeviceReading, HostReading, Memory, host_memory};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::{Bytes, DeviceId, Timestamp};

const SOURCE: &str = "sysinfo";

/// The busy share needs two looks at the processor's times, this far apart; the library ignores a sooner one.
const BETWEEN_LOOKS: Duration = MINIMUM_CPU_UPDATE_INTERVAL.saturating_add(Duration::from_millis(10));

/// Looks further apart than this would tell an average of a time that nobody asked about.
const LOOKS_BELONG_TOGETHER: Duration = Duration::from_secs(15);

/// Reads the host; also the row of the `cpu` device.
#[derive(Default)]
pub struct HostProbe {
    system: Option<System>,
    /// Read once: neither changes while we live.
    name: Option<String>,
    processor: Option<String>,
    /// The last time the processor's times were looked at, and the busy share that came out.
    looked: Option<Instant>,
    busy: Option<f64>,
}

impl HostProbe {
    /// Returns a probe that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&mut self) {
        self.system = System::new().inspect_err(|error| tracing::warn!(%error, "cannot read the host")).ok();
        self.name = System::host_name().ok();
        if let Some(system) = &mut self.system {
            // The first look also lists the processors.
            system.refresh_cpu_list(CpuRefreshKind::nothing().with_usage());
            self.looked = Some(Instant::now());
            self.processor = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|brand| !brand.is_empty());
        }
    }

    /// Returns the busy share of all cores since the last look, where there was one not long ago.
    fn utilization(&mut self) -> Option<f64> {
        let system = self.system.as_mut()?;
        let apart = self.looked?.elapsed();
        if apart >= BETWEEN_LOOKS {
            system.refresh_cpu_usage();
            self.looked = Some(Instant::now());
            let share = (f64::from(system.global_cpu_usage()) / 100.0).clamp(0.0, 1.0);
            self.busy = (apart <= LOOKS_BELONG_TOGETHER).then_some(share);
        }
        self.busy
    }
}

impl Probe for HostProbe {
    fn name(&self) -> &'static str {
        "host"
    }

    fn read(&mut self, _now: Timestamp, _ask: &Ask) -> Sample {
        if self.system.is_none() {
            self.open();
        }
        let cpu_utilization = self.utilization();
        let mut host = HostReading {
            name: self.name.clone(),
            cpus: available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()),
            load: System::load_average().ok().map(|load| [load.one, load.five, load.fifteen]),
            cpu_utilization,
            ..HostReading::default()
        };
        if let Some(system) = &mut self.system {
            system.refresh_memory();
            host.memory = host_memory(|path| fs::read_to_string(path).ok());
            host.swap = swap(system.total_memory(), system.total_swap(), system.free_swap());
        }
        let row = cpu_row(&host, self.processor.clone());
        Sample { devices: vec![row], host }
    }
}

/// Returns swap space; a host without any has 0 of it, which is a value.
fn swap(total_memory: u64, total: u64, free: u64) -> Option<Memory> {
    (total_memory > 0).then(|| Memory { total: Bytes(total), used: Bytes(total.saturating_sub(free)), free: Bytes(free) })
}

fn cpu_row(host: &HostReading, processor: Option<String>) -> DeviceReading {
    let mut row = DeviceReading::unknown(DeviceId::Cpu, DeviceKind::Cpu, SOURCE);
    row.name = processor;
    row.memory = host.memory;
    row.utilization = host.cpu_utilization;
    if row.utilization.is_none() {
        row.why.insert("utilization".to_owned(), "needs two readings".to_owned());
    }
    if row.memory.is_none() {
        row.why.insert("memory".to_owned(), "/proc/meminfo cannot be read".to_owned());
    }
    row.explain_absent("not measured for the processor");
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn no_swap_is_none_of_it() {
        assert_eq!(swap(0, 0, 0), None);
        assert_eq!(swap(GIB, 0, 0).map(|s| s.total), Some(Bytes::ZERO));
    }

    #[test]
    fn looks_that_lie_far_apart_tell_nothing() {
        let mut probe = HostProbe::new();
        probe.open();
        let Some(long_ago) = Instant::now().checked_sub(LOOKS_BELONG_TOGETHER + Duration::from_secs(1)) else { return };
        probe.looked = Some(long_ago);
        assert_eq!(probe.utilization(), None);
        let a_moment_ago = Instant::now().checked_sub(BETWEEN_LOOKS).unwrap();
        probe.looked = Some(a_moment_ago);
        assert!(probe.utilization().is_some_and(|share| (0.0..=1.0).contains(&share)));
        assert_eq!(probe.utilization(), probe.busy, "asked again at once, it tells the same");
    }

    #[test]
    fn reads_this_host_and_knows_no_utilization_at_first() {
        let mut probe = HostProbe::new();
        let sample = probe.read(Timestamp(0), &Ask::default());
        let memory = sample.host.memory.unwrap();
        assert!(memory.total > Bytes::mib(64) && memory.free <= memory.total);
        assert!(sample.host.cpus.is_some_and(|n| n > 0));
        assert_eq!(sample.host.cpu_utilization, None);
        let row = &sample.devices[0];
        assert_eq!((row.id, row.kind, row.source.as_str()), (DeviceId::Cpu, DeviceKind::Cpu, "sysinfo"));
        assert_eq!(row.why["utilization"], "needs two readings");
        assert!(row.absent().iter().all(|name| row.why.contains_key(*name)));
    }
}
