//! One reading of one device. What could not be read is absent and has a reason; it is never 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Extras;
use crate::units::{Bytes, Capability, DeviceId, Timestamp};

/// What kind of device a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// An NVIDIA GPU, or a MIG slice of one.
    Cuda,
    /// An AMD GPU.
    Amd,
    /// The host's processor and memory.
    Cpu,
    /// The file system that holds the model folders.
    Disk,
    /// A simulated GPU.
    Sim,
}

/// How a device is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum Health {
    /// It answers.
    Ok,
    /// It answers some questions and failed others just now.
    Degraded {
        /// Failed readings in a row.
        misses: u32,
    },
    /// It stopped answering. Values are the last known ones.
    Lost {
        /// Why, in NVML's words or ours.
        reason: String,
        /// Seconds since it last answered.
        for_s: f64,
    },
    /// Powered down by the system; asking would wake it.
    Asleep,
}

/// Bytes of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All there is.
    pub total: Bytes,
    /// Held by somebody.
    pub used: Bytes,
    /// Can be had.
    pub free: Bytes,
}

impl Memory {
    /// Returns what may be had of it in a group of processes that may hold `limit` and holds `used` that it cannot give back.
    #[must_use]
    pub fn within(self, limit: Bytes, used: Bytes) -> Self {
        let total = self.total.min(limit);
        let free = self.free.min(limit.saturating_sub(used)).min(total);
        Self { total, used: total.saturating_sub(free), free }
    }
}

/// Present clock rates in MHz.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Of the processors.
    pub sm_mhz: Option<u32>,
    /// Of the memory.
    pub mem_mhz: Option<u32>,
}

/// Traffic over the bus, in bytes per second as the device sees it, and the link it runs over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pcie {
    /// Towards the device.
    pub rx_bps: Option<f64>,
    /// From the device.
    pub tx_bps: Option<f64>,
    /// Link generation in use now.
    pub generation: Option<u32>,
    /// Lanes in use now.
    pub width: Option<u32>,
}

/// A process that holds memory of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReading {
    /// Process id as the driver gives it: the host's, also inside containers.
    pub pid: u32,
    /// Its name, if it can be seen from here.
    pub name: Option<String>,
    /// The command it was started with, if it can be seen from here.
    #[serde(default)]
    pub command: Option<String>,
    /// The container it runs in, `docker:7f3a21d06b52`; nothing where it runs in none, or it cannot be seen.
    #[serde(default)]
    pub container: Option<String>,
    /// When it started, if it can be seen from here.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// The kernel's clock when it started, in ticks since boot. With the number it says which process this is.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// Its user, if it can be seen from here.
    pub user: Option<String>,
    /// Device memory it holds, where the driver tells.
    pub bytes: Option<Bytes>,
    /// What it is to us: `engine` for our own engines, `foreign` for others, `other pid ns` where it cannot be seen.
    pub owner: String,
}

/// Weights that one of our engines holds on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The model set.
    pub set: String,
    /// The part of it.
    pub component: String,
    /// The precision it is held in.
    pub precision: String,
    /// How much.
    pub bytes: Bytes,
}

/// One reading of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReading {
    /// Its name in flags.
    pub id: DeviceId,
    /// What kind it is.
    pub kind: DeviceKind,
    /// Its maker's name for it.
    pub name: Option<String>,
    /// Its identity, the same after a reboot.
    pub uuid: Option<String>,
    /// Its PCI address, `0000:01:00.0`.
    pub pci: Option<String>,
    /// Which instructions it has, where it is one of NVIDIA's: `8.9`.
    #[serde(default)]
    pub capability: Option<Capability>,
    /// The GPU it is a MIG slice of.
    #[serde(default)]
    pub parent: Option<DeviceId>,
    /// Where the reading comes from: `nvml`, `sysfs`, `sysinfo`, `statvfs`, `simulated`.
    pub source: String,
    /// Its memory.
    pub memory: Option<Memory>,
    /// How much of it is to stay free, where the operator has said it.
    #[serde(default)]
    pub floor: Option<Bytes>,
    /// Busy share of the last sampling period, 0…1.
    pub utilization: Option<f64>,
    /// Core temperature in °C.
    pub temperature_c: Option<f64>,
    /// Power drawn, in watts.
    pub power_w: Option<f64>,
    /// Power allowed, in watts.
    pub power_limit_w: Option<f64>,
    /// Intended fan speed, 0…1.
    pub fan: Option<f64>,
    /// Clock rates.
    pub clocks: Clocks,
    /// Bus traffic.
    pub pcie: Pcie,
    /// What else its driver tells.
    #[serde(default)]
    pub extras: Extras,
    /// Who holds its memory.
    pub processes: Vec<ProcessReading>,
    /// What our engines hold there.
    pub held: Vec<Held>,
    /// Memory our engine holds beyond weights: activations and buffers, that which blocks pass through among them.
    pub activations: Option<Bytes>,
    /// Whether it is split into MIG slices.
    pub mig: bool,
    /// Whether it is simulated; everything about it is then modelled.
    pub simulated: bool,
    /// How it is doing.
    pub health: Health,
    /// The error that keeps the whole device from being read.
    pub error: Option<String>,
    /// For each absent value, its name and why it is absent.
    pub why: BTreeMap<String, String>,
    /// Seconds since the values were taken.
    pub age_s: f64,
    /// Whether the values are older than they should be: the device or its source does not answer, or nobody watches.
    #[serde(default)]
    pub stale: bool,
}

impl DeviceReading {
    /// Returns whether this is a GPU that a job may be given without anybody having asked for it.
    #[must_use]
    pub fn is_gpu_that_computes(&self) -> bool {
        let well = matches!(self.health, Health::Ok | Health::Degraded { .. }) && self.error.is_none();
        // A GPU that is split into slices computes in its slices only.
        matches!(self.id, DeviceId::Cuda(_)) && well && !self.mig
    }

    /// Returns a reading of which nothing is known yet.
    #[must_use]
    pub fn unknown(id: DeviceId, kind: DeviceKind, source: &str) -> Self {
        Self {
            id,
            kind,
            name: None,
            uuid: None,
            pci: None,
            capability: None,
            parent: None,
            source: source.to_owned(),
            memory: None,
            floor: None,
            utilization: None,
            temperature_c: None,
            power_w: None,
            power_limit_w: None,
            fan: None,
            clocks: Clocks::default(),
            pcie: Pcie::default(),
            extras: Extras::default(),
            processes: Vec::new(),
            held: Vec::new(),
            activations: None,
            mig: false,
            simulated: false,
            health: Health::Ok,
            error: None,
            why: BTreeMap::new(),
            age_s: 0.0,
            stale: false,
        }
    }

    /// Returns the names of the readable values that are absent, as they stand in JSON and in `why`.
    #[must_use]
    pub fn absent(&self) -> Vec<&'static str> {
        [
            ("capability", self.capability.is_none()),
            ("memory", self.memory.is_none()),
            ("utilization", self.utilization.is_none()),
            ("temperature_c", self.temperature_c.is_none()),
            ("power_w", self.power_w.is_none()),
            ("power_limit_w", self.power_limit_w.is_none()),
            ("fan", self.fan.is_none()),
            ("clocks.sm_mhz", self.clocks.sm_mhz.is_none()),
            ("clocks.mem_mhz", self.clocks.mem_mhz.is_none()),
            ("pcie.rx_bps", self.pcie.rx_bps.is_none()),
            ("pcie.tx_bps", self.pcie.tx_bps.is_none()),
            ("pcie.generation", self.pcie.generation.is_none()),
            ("pcie.width", self.pcie.width.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, absent)| absent.then_some(name))
        .chain(self.extras.absent())
        .collect()
    }

    /// Gives `reason` for every absent value that has none yet.
    pub fn explain_absent(&mut self, reason: &str) {
        for name in self.absent() {
            self.why.entry(name.to_owned()).or_insert_with(|| reason.to_owned());
        }
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskReading {
    /// Where it is mounted.
    pub mount: String,
    /// Its size.
    pub total: Bytes,
    /// What can be written to it.
    pub free: Bytes,
    /// Bytes that are read from its disk per second, by everybody.
    #[serde(default)]
    pub read_bps: Option<f64>,
    /// Bytes that are written to its disk per second, by everybody.
    #[serde(default)]
    pub write_bps: Option<f64>,
    /// Why these are absent, where they are.
    #[serde(default)]
    pub why: Option<String>,
    /// How fast it was when weights were read from it, where somebody measured that.
    #[serde(default)]
    pub measured: Option<MeasuredSpeed>,
}

/// A speed that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeasuredSpeed {
    /// Bytes a second.
    pub read_bps: f64,
    /// When it was measured.
    pub time: Timestamp,
}

/// One reading of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReading {
    /// Its name.
    pub name: Option<String>,
    /// Processor cores that may be used.
    pub cpus: Option<u32>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Busy share of all cores, 0…1.
    pub cpu_utilization: Option<f64>,
    /// Main memory, or the container's limit of it.
    pub memory: Option<Memory>,
    /// Swap space.
    pub swap: Option<Memory>,
    /// File systems of model folders, outputs and state.
    pub disks: Vec<DiskReading>,
    /// The NVIDIA driver's version.
    pub driver: Option<String>,
    /// The CUDA version that driver supports, `13.0`.
    pub cuda: Option<String>,
    /// Why NVIDIA devices cannot be read: cause and what to do.
    pub gpu_problem: Option<GpuProblem>,
}

/// Why NVIDIA devices cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProblem {
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
    /// Whether nothing is wrong: the machine has no such GPU.
    pub is_absent: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_absent_value_gets_one_reason_and_keeps_the_first() {
        let mut reading = DeviceReading::unknown(DeviceId::Cpu, DeviceKind::Cpu, "sysinfo");
        reading.utilization = Some(0.5);
        reading.why.insert("fan".to_owned(), "passively cooled".to_owned());
        reading.explain_absent("not a GPU");
        assert_eq!(reading.why["fan"], "passively cooled");
        assert_eq!(reading.why["power_w"], "not a GPU");
        assert!(!reading.why.contains_key("utilization"));
        assert!(reading.absent().iter().all(|name| reading.why.contains_key(*name)));
    }

    #[test]
    fn absent_values_are_null_in_json() {
        let reading = DeviceReading::unknown(DeviceId::Cuda(0), DeviceKind::Cuda, "nvml");
        let json = serde_json::to_value(&reading).unwrap();
        for name in reading.absent() {
            let value = name.split('.').fold(&json, |at, key| &at[key]);
            assert!(value.is_null(), "{name} is {value}");
        }
        assert_eq!(json["health"]["state"], "ok");
    }
}
