//! What this machine is like: its memory now, and its speed as runs have shown it.

use std::collections::BTreeMap;

use super::device::Compute;
use super::residency::Traffic;
use crate::placement::budget::usual_reserve;
use crate::placement::{Machine, Room, Speed};
use crate::units::{Bytes, DeviceId};

/// Speeds that were measured since the engine began.
#[derive(Debug, Clone, Default)]
pub struct Speeds {
    measured: BTreeMap<DeviceId, Speed>,
    /// The disk's, where the page cache holds what is asked of it.
    from_page_cache: Option<Speed>,
}

/// Whether the page cache holds a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// All of them.
    Cached,
    /// Not all.
    OnDisk,
}

/// What is assumed of the page cache: having its pages mapped, without copying.
const PAGE_CACHE: Speed = Speed { flops: 0.0, bytes_per_second: 20e9, measured: false };

/// Less than this tells nothing about a disk.
const WORTH_A_MEASUREMENT: Bytes = Bytes::mib(64);

impl Speeds {
    /// Returns the machine as it is now.
    #[must_use]
    pub fn machine(&self, compute: &Compute, files: Files) -> Machine {
        let room = compute.memory().map(|(total, free)| {
            let reserve = usual_reserve(compute.id, total);
            Room { device: compute.id, total, free, reserve, committed: Bytes::ZERO }
        });
        let mut speeds = self.measured.clone();
        if files == Files::Cached {
            speeds.insert(DeviceId::Disk, self.from_page_cache.unwrap_or(PAGE_CACHE));
        }
        Machine { rooms: room.into_iter().collect(), speeds: speeds.into_iter().collect() }
    }

    /// Learns from a step: what it computed and how long that took, and what came from the disk meanwhile.
    pub fn learn(&mut self, compute: DeviceId, flops: f64, seconds: f64, traffic: &Traffic) {
        let known = |device| self.measured.get(&device).copied().unwrap_or(Speed::assumed(device));
        let computing = seconds - traffic.stalled;
        let here = known(compute);
        if computing > 0.0 && flops > 0.0 {
            self.measured.insert(compute, Speed { flops: flops / computing, measured: true, ..here });
        }
        if traffic.bytes >= WORTH_A_MEASUREMENT && traffic.busy > 0.0 {
            let speed = Speed { flops: 0.0, bytes_per_second: traffic.bytes.get() as f64 / traffic.busy, measured: true };
            // A mixture of both tells of neither.
            if traffic.cached == Bytes::ZERO {
                self.measured.insert(DeviceId::Disk, speed);
            } else if traffic.cached == traffic.bytes {
                self.from_page_cache = Some(speed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_how_fast_the_machine_is() {
        let mut speeds = Speeds::default();
        let of =
            |speeds: &Speeds, device| Machine { rooms: Vec::new(), speeds: speeds.measured.clone().into_iter().collect() }.speed(device);
        assert_eq!(of(&speeds, DeviceId::Cpu), Speed::assumed(DeviceId::Cpu));
        speeds.learn(DeviceId::Cpu, 1e12, 12.0, &Traffic { bytes: Bytes(4_000_000_000), cached: Bytes::ZERO, stalled: 2.0, busy: 4.0 });
        assert!((of(&speeds, DeviceId::Cpu).flops - 1e11).abs() < 1.0);
        assert!((of(&speeds, DeviceId::Disk).bytes_per_second - 1e9).abs() < 1.0);
        // What was too little to tell changes nothing.
        speeds.learn(DeviceId::Cpu, 0.0, 0.0, &Traffic { bytes: Bytes(1), busy: 1.0, ..Traffic::default() });
        assert!(of(&speeds, DeviceId::Cpu).measured && (of(&speeds, DeviceId::Disk).bytes_per_second - 1e9).abs() < 1.0);
    }
}
