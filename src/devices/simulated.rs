//! A simulated GPU, as a profile defines it: how much memory it has, and how fast weights reach it.
//!
//! It computes on the processor. Its memory is the host's, of which it takes no more than it has; what travels to it is
//! there no sooner than its links allow.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DeviceKind, DeviceReading, Memory};
use crate::units::{Bytes, DeviceId};

/// The word that stands on every screen and in every row about such a device.
pub const SIMULATED: &str = "SIMULATED";

/// Bytes in a gigabyte, as link speeds are written.
const GIGABYTE: f64 = 1e9;
/// The longest latency of a link in microseconds. What takes a second to answer is no link.
const LONGEST_LATENCY_US: f64 = 1e6;
/// The fastest link in GB/s: a hundred times what today's GPUs read from their own memory.
const FASTEST_GB_S: f64 = 1e6;

/// A simulated GPU. The N-th of a profile is `sim:N`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct SimulatedGpu {
    /// What it is called.
    pub name: String,
    /// Its memory.
    pub memory: Bytes,
    /// Bytes a second from the host's memory.
    pub from_cpu: f64,
    /// Bytes a second from the disk.
    pub from_disk: f64,
    /// Bytes a second from another simulated GPU.
    pub from_sim: f64,
    /// Seconds before the first byte of a transfer.
    pub latency_s: f64,
}

/// What a simulated GPU cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulatedGpuError {
    /// Its size is no number of bytes.
    #[error("memory of a simulated GPU: {0}")]
    Memory(#[from] crate::units::bytes::BytesError),
    /// It has no memory.
    #[error("memory of a simulated GPU is 0, and must be more")]
    NoMemory,
    /// A link is too slow or too fast, or no number.
    #[error("{link} of a simulated GPU is {speed} GB/s, but must be above 0 and at most {FASTEST_GB_S}")]
    Speed {
        /// Which.
        link: &'static str,
        /// What was written.
        speed: f64,
    },
    /// A latency that is none.
    #[error("latency_us of a simulated GPU is {0}, but must be from 0 to {LONGEST_LATENCY_US}")]
    Latency(f64),
}

/// A simulated GPU as profiles have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    memory: String,
    from_cpu_gb_s: f64,
    from_disk_gb_s: f64,
    from_sim_gb_s: f64,
    #[serde(default)]
    latency_us: f64,
}

impl TryFrom<Written> for SimulatedGpu {
    type Error = SimulatedGpuError;

    fn try_from(written: Written) -> Result<Self, SimulatedGpuError> {
        let memory: Bytes = written.memory.parse()?;
        if memory == Bytes::ZERO {
            return Err(SimulatedGpuError::NoMemory);
        }
        let speed = |link, speed: f64| {
            let is_one = speed > 0.0 && speed <= FASTEST_GB_S;
            if is_one { Ok(speed * GIGABYTE) } else { Err(SimulatedGpuError::Speed { link, speed }) }
        };
        if !(0.0..=LONGEST_LATENCY_US).contains(&written.latency_us) {
            return Err(SimulatedGpuError::Latency(written.latency_us));
        }
        Ok(Self {
            memory,
            from_cpu: speed("from_cpu_gb_s", written.from_cpu_gb_s)?,
            from_disk: speed("from_disk_gb_s", written.from_disk_gb_s)?,
            from_sim: speed("from_sim_gb_s", written.from_sim_gb_s)?,
            latency_s: written.latency_us / 1e6,
            name: written.name,
        })
    }
}

impl From<SimulatedGpu> for Written {
    fn from(gpu: SimulatedGpu) -> Self {
        Self {
            name: gpu.name,
            memory: format!("{}B", gpu.memory.get()),
            from_cpu_gb_s: gpu.from_cpu / GIGABYTE,
            from_disk_gb_s: gpu.from_disk / GIGABYTE,
            from_sim_gb_s: gpu.from_sim / GIGABYTE,
            latency_us: gpu.latency_s * 1e6,
        }
    }
}

impl SimulatedGpu {
    /// Returns how many bytes a second reach it from a donor.
    #[must_use]
    pub fn bytes_per_second(&self, donor: DeviceId) -> f64 {
        match donor {
            // A GPU that is real is reached through the host's memory.
            DeviceId::Cpu | DeviceId::Cuda(_) | DeviceId::Amd(_) => self.from_cpu,
            DeviceId::Disk => self.from_disk,
            DeviceId::Sim(_) => self.from_sim,
        }
    }

    /// Returns how long so many bytes travel from a donor.
    #[must_use]
    pub fn seconds(&self, donor: DeviceId, bytes: Bytes) -> f64 {
        self.latency_s + bytes.get() as f64 / self.bytes_per_second(donor)
    }

    /// Returns its row while nobody uses it.
    #[must_use]
    pub fn reading(&self, id: DeviceId) -> DeviceReading {
        let mut reading = DeviceReading {
            name: Some(self.name.clone()),
            memory: Some(Memory { total: self.memory, used: Bytes::ZERO, free: self.memory }),
            simulated: true,
            ..DeviceReading::unknown(id, DeviceKind::Sim, "simulated")
        };
        reading.explain_absent("a simulated GPU has no such value");
        reading
    }
}

/// Returns the simulated GPUs of a profile with their names in flags.
pub fn numbered(gpus: &[SimulatedGpu]) -> impl Iterator<Item = (DeviceId, &SimulatedGpu)> {
    (0..=u16::MAX).map(DeviceId::Sim).zip(gpus)
}

/// A device as tables show it: one that is simulated says so.
#[derive(Debug, Clone, Copy)]
pub struct Labelled(pub DeviceId);

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            device @ DeviceId::Sim(_) => f.pad(&format!("{device} {SIMULATED}")),
            device @ (DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Cpu | DeviceId::Disk) => device.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SimulatedGpu, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    fn written(memory: &str, from_disk: &str, latency: &str) -> String {
        format!(
            r#"{{"name":"8 GB card","memory":"{memory}","from_cpu_gb_s":12,"from_disk_gb_s":{from_disk},"from_sim_gb_s":24,"latency_us":{latency}}}"#
        )
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        let gpu = read(&written("8GiB", "2.5", "20")).unwrap();
        assert_eq!((gpu.memory, gpu.from_disk, gpu.latency_s), (Bytes::gib(8), 2.5e9, 20e-6));
        assert_eq!(read(&serde_json::to_string(&gpu).unwrap()).unwrap(), gpu);
        assert!((gpu.seconds(DeviceId::Cpu, Bytes(12_000_000_000)) - 1.000_02).abs() < 1e-9);
        assert!((gpu.bytes_per_second(DeviceId::Sim(3)) - 24e9).abs() < 1.0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |memory: &str, from_disk: &str, latency: &str, expected: &str| {
            let error = read(&written(memory, from_disk, latency)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("0", "1", "0", "memory of a simulated GPU is 0");
        check("8 gigs", "1", "0", "`gigs` is not a unit");
        check("8GiB", "0", "0", "from_disk_gb_s of a simulated GPU is 0 GB/s");
        check("8GiB", "-3", "0", "from_disk_gb_s");
        check("8GiB", "1", "2e6", "latency_us of a simulated GPU is 2000000");
        assert!(read(r#"{"name":"x","memory":"1GiB"}"#).unwrap_err().contains("from_cpu_gb_s"));
    }

    #[test]
    fn rows_and_labels_say_what_it_is() {
        let reading = read(&written("8GiB", "2", "0")).unwrap().reading(DeviceId::Sim(1));
        assert!(reading.simulated && reading.absent().iter().all(|name| reading.why.contains_key(*name)));
        assert_eq!(reading.memory.unwrap().free, Bytes::gib(8));
        assert_eq!(
            (Labelled(DeviceId::Sim(1)).to_string(), Labelled(DeviceId::Cpu).to_string()),
            ("sim:1 SIMULATED".to_owned(), "cpu".to_owned())
        );
    }
}
