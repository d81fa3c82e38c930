//! What this machine is like: its memory now, and its speed as runs have shown it.

use std::collections::{BTreeMap, BTreeSet};

use super::device::Compute;
use super::residency::Traffic;
use super::residency::traffic::Flow;
use crate::placement::{Files, Learned, Machine, Speed, Subject, learned};
use crate::units::{Bytes, DeviceId};
use crate::weights::Precision;

/// Speeds that were measured, since the engine began or before.
#[derive(Debug, Clone, Default)]
pub struct Speeds {
    measured: BTreeMap<(Precision, Subject), Speed>,
}

/// Less than this, in all steps together, tells nothing about a disk.
const WORTH_A_MEASUREMENT: Bytes = Bytes::mib(16);

impl Speeds {
    /// Takes in what was measured before. What this engine has measured itself is newer.
    pub fn recall(&mut self, known: &[Learned]) {
        for learned in known {
            self.measured.entry((learned.basis.precision, learned.subject)).or_insert(learned.speed);
        }
    }

    /// Returns the machine as it is now, for computing in this precision with weights from such files.
    #[must_use]
    pub fn machine(&self, compute: &Compute, precision: Precision, files: Files) -> Machine {
        learned::machine(compute.rooms(), &self.of(precision), files)
    }

    fn of(&self, precision: Precision) -> Vec<(Subject, Speed)> {
        let in_it = self.measured.iter().filter(|((computed_in, _), _)| *computed_in == precision);
        in_it.map(|((_, subject), speed)| (*subject, *speed)).collect()
    }

    /// Learns from a run: what each step computed, how long each took, and what was streamed meanwhile. Returns what was
    /// found. The first step warms the machine up, so it counts only where it is the only one.
    pub fn learn(&mut self, (compute, precision): (DeviceId, Precision), flops: f64, steps: &[(f64, Traffic)]) -> Vec<(Subject, Speed)> {
        let steps = if steps.len() > 1 { &steps[1..] } else { steps };
        let mut computing: Vec<f64> = steps.iter().map(|(seconds, traffic)| seconds - traffic.stalled).collect();
        computing.sort_unstable_by(f64::total_cmp);
        let mut found = Vec::new();
        if let Some(seconds) = computing.get(computing.len() / 2).filter(|s| **s > 0.0 && flops > 0.0) {
            let here = Subject::Device(compute);
            let bytes_per_second = self.measured.get(&(precision, here)).copied().unwrap_or(Speed::assumed(compute)).bytes_per_second;
            found.push((here, Speed { flops: flops / seconds, bytes_per_second, measured: true }));
        }
        let links: BTreeSet<Subject> = steps.iter().flat_map(|(_, traffic)| traffic.flows.keys().copied()).collect();
        found.extend(links.into_iter().filter_map(|subject| link(subject, steps.iter().map(|(_, traffic)| traffic.over(subject)))));
        self.measured.extend(found.iter().map(|(subject, speed)| ((precision, *subject), *speed)));
        found
    }
}

/// The speed of what was streamed in these steps, where it was enough to tell.
fn link(subject: Subject, flows: impl Iterator<Item = Flow>) -> Option<(Subject, Speed)> {
    let (bytes, busy) = flows.fold((Bytes::ZERO, 0.0), |(bytes, busy), flow| (bytes + flow.bytes, busy + flow.busy));
    let speed = Speed { flops: 0.0, bytes_per_second: bytes.get() as f64 / busy, measured: true };
    (bytes >= WORTH_A_MEASUREMENT && busy > 0.0).then_some((subject, speed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Basis;

    const HERE: (DeviceId, Precision) = (DeviceId::Cpu, Precision::Fp32);

    fn of(speeds: &Speeds, device: DeviceId, files: Files) -> Speed {
        learned::machine(Vec::new(), &speeds.of(Precision::Fp32), files).speed(device)
    }

    #[test]
    fn steps_show_how_fast_the_machine_is() {
        let mut speeds = Speeds::default();
        assert_eq!(of(&speeds, DeviceId::Cpu, Files::OnDisk), Speed::assumed(DeviceId::Cpu));
        let flow = |bytes, busy| Flow { bytes: Bytes(bytes), busy };
        let disk = Subject::Device(DeviceId::Disk);
        let step = |seconds: f64| (seconds, Traffic { stalled: 2.0, flows: [(disk, flow(4_000_000_000, 4.0))].into() });
        speeds.learn(HERE, 1e12, &[step(99.0), step(12.0), step(12.0), step(40.0)]);
        assert!((of(&speeds, DeviceId::Cpu, Files::OnDisk).flops - 1e11).abs() < 1.0);
        assert!((of(&speeds, DeviceId::Disk, Files::OnDisk).bytes_per_second - 1e9).abs() < 1.0);
        assert!(!of(&speeds, DeviceId::Disk, Files::Cached).measured, "the page cache is another matter");
        assert_eq!(speeds.of(Precision::Bf16), [], "and so is another precision");
        // A mixture of both tells of both.
        let flows = [(disk, flow(2_000_000_000, 2.0)), (Subject::PageCache, flow(4_000_000_000, 0.4))];
        let mixed = Traffic { stalled: 0.0, flows: flows.into() };
        speeds.learn(HERE, 1e12, &[(1.0, mixed.clone()), (1.0, mixed)]);
        assert!((of(&speeds, DeviceId::Disk, Files::Cached).bytes_per_second - 1e10).abs() < 1.0);
        // What was too little to tell changes nothing.
        assert_eq!(speeds.learn(HERE, 0.0, &[(0.0, Traffic { stalled: 0.0, flows: [(disk, flow(1, 1.0))].into() })]), []);
        assert_eq!(speeds.learn(HERE, 1e12, &[]), []);
        assert!((of(&speeds, DeviceId::Disk, Files::OnDisk).bytes_per_second - 1e9).abs() < 1.0);
    }

    #[test]
    fn what_was_known_before_counts_until_it_is_measured_again() {
        let mut speeds = Speeds::default();
        let basis = Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: "libtorch".to_owned() };
        let speed = Speed { flops: 7.0, bytes_per_second: 1.0, measured: true };
        let known = Learned { basis, subject: Subject::Device(DeviceId::Cpu), speed };
        speeds.recall(std::slice::from_ref(&known));
        assert!((of(&speeds, DeviceId::Cpu, Files::OnDisk).flops - 7.0).abs() < 1e-9);
        speeds.learn(HERE, 8.0, &[(1.0, Traffic::default())]);
        speeds.recall(&[known]);
        assert!((of(&speeds, DeviceId::Cpu, Files::OnDisk).flops - 8.0).abs() < 1e-9);
    }
}
