//! What this machine is like: its memory now, and its speed as runs and calibrations have shown it.

use std::collections::BTreeSet;

use super::device::Compute;
use super::residency::Traffic;
use super::residency::traffic::Flow;
use crate::placement::{Files, Finding, Learned, Machine, Sample, Speed, Subject, Walk, learned};
use crate::units::Bytes;
use crate::weights::Precision;

/// What is known of this machine, as the daemon remembers it.
#[derive(Debug, Clone, Default)]
pub struct Speeds {
    known: Vec<Learned>,
}

/// Less than this, in all steps together, tells nothing about a link.
const WORTH_A_MEASUREMENT: Bytes = Bytes::mib(16);
/// Blocks smaller than this tell of what a request costs, and little of the speed at which larger ones come.
const WORTH_A_REQUEST: Bytes = Bytes::mib(1);

/// The steps of a run.
#[derive(Debug, Clone, Copy)]
pub struct Steps<'a> {
    /// What each one walked through, so many times.
    pub walk: Walk,
    /// Walks in a step.
    pub walks: u64,
    /// Blocks that are streamed in a walk.
    pub streamed: usize,
    /// How long each took, and what was streamed meanwhile.
    pub taken: &'a [(f64, Traffic)],
    /// The most memory that they took of the device beyond weights, where that is known.
    pub beyond: Option<Bytes>,
}

impl Speeds {
    /// Takes in what is known, which is all that this engine has told and what was there before it.
    pub fn recall(&mut self, known: &[Learned]) {
        self.known = known.to_vec();
    }

    /// Returns the machine as it is now, for computing in this precision with weights from such files.
    #[must_use]
    pub fn machine(&self, compute: &Compute, precision: Precision, files: Files) -> Machine {
        learned::machine(compute.id, compute.rooms(), &self.of(precision), files)
    }

    fn of(&self, precision: Precision) -> Vec<Learned> {
        self.known.iter().filter(|l| l.basis.precision == precision).cloned().collect()
    }

    /// Returns what a run has shown in this precision. Its first step warms the machine up, so it counts only where it is
    /// the only one, and then only where nothing better is known.
    #[must_use]
    pub fn learn(&self, precision: Precision, steps: Steps<'_>) -> Vec<Finding> {
        let Steps { walk, walks, streamed, taken, beyond } = steps;
        let alone = taken.len() == 1;
        let taken = if alone { taken } else { taken.get(1..).unwrap_or_default() };
        let mut computing: Vec<f64> = taken.iter().map(|(seconds, traffic)| (seconds - traffic.stalled) / walks.max(1) as f64).collect();
        computing.sort_unstable_by(f64::total_cmp);
        let seconds = computing.get(computing.len() / 2).copied().filter(|s| *s > 0.0 && walk.flops > 0.0);
        let step = seconds.map(|seconds| Finding::Step(Sample { walk, seconds, beyond }));
        let mut found: Vec<Finding> = step.into_iter().filter(|step| !alone || !self.knows(precision, step)).collect();
        let blocks = taken.len() as u64 * walks * streamed as u64;
        let links: BTreeSet<Subject> = taken.iter().flat_map(|(_, traffic)| traffic.flows.keys().copied()).collect();
        found.extend(links.into_iter().filter_map(|subject| link(subject, blocks, taken.iter().map(|(_, t)| t.over(subject)))));
        found
    }

    fn knows(&self, precision: Precision, finding: &Finding) -> bool {
        self.known.iter().any(|l| l.basis.precision == precision && l.finding.is_about(finding))
    }
}

/// The speed of what was streamed in these steps as so many blocks, where it was enough to tell.
fn link(subject: Subject, blocks: u64, flows: impl Iterator<Item = Flow>) -> Option<Finding> {
    let (bytes, busy) = flows.fold((Bytes::ZERO, 0.0), |(bytes, busy), flow| (bytes + flow.bytes, busy + flow.busy));
    let speed = Speed { flops: 0.0, bytes_per_second: bytes.get() as f64 / busy, measured: true };
    let least = WORTH_A_MEASUREMENT.max(Bytes(WORTH_A_REQUEST.get().saturating_mul(blocks)));
    (bytes >= least && busy > 0.0).then_some(Finding::Speed(subject, speed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{Basis, Origin};
    use crate::units::{DeviceId, Timestamp};

    const WALK: Walk = Walk { weights: 1_000, flops: 1e12 };
    const DISK: Subject = Subject::Device(DeviceId::Disk);

    fn learn(speeds: &Speeds, taken: &[(f64, Traffic)]) -> Vec<Finding> {
        speeds.learn(Precision::Fp32, Steps { walk: WALK, walks: 1, streamed: 10, taken, beyond: None })
    }

    fn step(seconds: f64) -> Finding {
        Finding::Step(Sample { walk: WALK, seconds, beyond: None })
    }

    fn speed(subject: Subject, bytes_per_second: f64) -> Finding {
        Finding::Speed(subject, Speed { flops: 0.0, bytes_per_second, measured: true })
    }

    #[test]
    fn steps_show_how_fast_the_machine_is() {
        let speeds = Speeds::default();
        let flow = |bytes, busy| Flow { bytes, busy };
        let gigabytes = |n: u64| Bytes(n * 1_000_000_000);
        let traffic = |flows: &[(Subject, Flow)]| Traffic { flows: flows.iter().copied().collect(), ..Traffic::default() };
        let took = |seconds: f64| (seconds, Traffic { stalled: 2.0, ..traffic(&[(DISK, flow(gigabytes(4), 4.0))]) });
        assert_eq!(learn(&speeds, &[took(99.0), took(12.0), took(12.0), took(40.0)]), [step(10.0), speed(DISK, 1e9)]);
        let twice = Steps { walk: WALK, walks: 2, streamed: 10, taken: &[took(12.0)], beyond: None };
        assert_eq!(speeds.learn(Precision::Fp32, twice)[0], step(5.0), "a walk takes half of a step of two");
        // A mixture tells of both.
        let mixed = (1.0, traffic(&[(DISK, flow(gigabytes(2), 2.0)), (Subject::PageCache, flow(gigabytes(4), 0.4))]));
        assert_eq!(learn(&speeds, &[mixed.clone(), mixed]), [step(1.0), speed(DISK, 1e9), speed(Subject::PageCache, 1e10)]);
        // What was at hand came over no link.
        let at_hand = (1.0, Traffic { at_hand: gigabytes(3), ..traffic(&[(Subject::PageCache, flow(gigabytes(4), 0.4))]) });
        assert_eq!(learn(&speeds, &[at_hand.clone(), at_hand]), [step(1.0), speed(Subject::PageCache, 1e10)]);
        // What was too little to tell, or came in crumbs, tells nothing.
        let few = (0.0, traffic(&[(DISK, flow(Bytes::mib(9), 1.0))]));
        let crumbs = vec![few.clone(); 9];
        assert_eq!((learn(&speeds, &[few]), learn(&speeds, &crumbs), learn(&speeds, &[])), (vec![], vec![], vec![]));
    }

    #[test]
    fn a_first_step_alone_does_not_count_where_more_is_known() {
        let mut speeds = Speeds::default();
        assert_eq!(learn(&speeds, &[(3.0, Traffic::default())]), [step(3.0)]);
        let basis = Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: "libtorch".to_owned() };
        speeds.recall(&[Learned { basis, finding: step(2.0), found: Timestamp(0), origin: Origin::Run }]);
        assert_eq!(learn(&speeds, &[(3.0, Traffic::default())]), []);
        assert_eq!(learn(&speeds, &[(3.0, Traffic::default()), (2.5, Traffic::default())]), [step(2.5)]);
        assert_eq!((speeds.of(Precision::Fp32).len(), speeds.of(Precision::Bf16).len()), (1, 0));
    }
}
