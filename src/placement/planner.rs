//! From a wish about memory to a home for every block, with the time that a step will take.
//!
//! Sums are exact and budgets are kept to the byte. The blocks that leave are spread over the pass so
//! that their copies hide behind the computing of the others, and the simulator predicts how well that
//! goes. Whatever cannot be placed is a [`Shortage`]; nothing falls back to the compute device.

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::demand;
use super::moves::improve;
use super::packing::rescue;
use super::plan::OffloadPlan;
use super::portfolio::{Scored, simple};
use super::shortage::Shortage;
use super::simulate::{Link, Load, Staging, simulate};
use crate::units::{Bytes, DeviceId};

/// Whether a unit may leave the compute device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stay {
    /// It is used there in every pass and stays.
    Pinned,
    /// It may live elsewhere and stream in.
    Movable,
    /// It must live on this other device and stream in.
    At(DeviceId),
}

/// What one unit of weights costs, in order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnitCost {
    /// Its size where it is computed with.
    pub bytes: Bytes,
    /// What a donor holds of it: it is kept there as it is stored.
    pub stored: Bytes,
    /// What of it is not stored as it is computed with, as large as it becomes.
    pub expanded: Bytes,
    /// How long it computes in a step; what is no positive number counts as no time.
    pub seconds: f64,
    /// Whether it may leave.
    pub stay: Stay,
}

impl UnitCost {
    /// Returns a unit that is stored as it is computed with, and may leave.
    #[must_use]
    pub fn plain(bytes: Bytes, seconds: f64) -> Self {
        Self { bytes, stored: bytes, expanded: Bytes::ZERO, seconds, stay: Stay::Movable }
    }
}

/// The most bytes that one device may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The device.
    pub device: DeviceId,
    /// The most bytes of weights there, on a donor as they are stored.
    pub most: Bytes,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// At least so many bytes of weights leave the compute device, or all that may leave.
    Free(Bytes),
    /// Weights kept on the compute device and staging memory take at most so much of it.
    Hold(Bytes),
    /// Each device holds at most what it is given, staging memory not counted.
    Quotas {
        /// The amounts. A device that is not named holds nothing, but for what is pinned.
        by_device: Vec<Quota>,
        /// The device that takes what the others do not. Where it is the compute device, the donors take all that
        /// their amounts allow; otherwise as much stays as its amount allows, and the other donors take theirs before
        /// this one takes anything.
        rest: Option<DeviceId>,
    },
}

/// A device that can hold weights for another, and the way from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DonorLink {
    /// The donor.
    pub device: DeviceId,
    /// What it can hold of weights as they are stored.
    pub capacity: Bytes,
    /// How fast weights come from it.
    pub bytes_per_second: f64,
    /// Seconds before the first byte of a copy moves.
    pub latency_s: f64,
}

/// A question to the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The device that computes.
    pub compute: DeviceId,
    /// The weights.
    pub units: Vec<UnitCost>,
    /// What is wanted.
    pub goal: Goal,
    /// What streamed units pass through.
    pub staging: Staging,
    /// Who can hold weights. A device that comes twice counts once, as first given.
    pub donors: Vec<DonorLink>,
    /// Whether seconds and speeds were measured on this machine.
    pub calibrated: bool,
}

/// The traffic of one link in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkUse {
    /// The donor.
    pub device: DeviceId,
    /// What comes over it: as blocks are computed with, and of a [proposal](super::propose()) as they are stored.
    pub streamed: Bytes,
    /// How long it copies.
    pub transfer_s: f64,
}

/// What a step is expected to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Seconds of a step, once steps repeat.
    pub step_s: f64,
    /// Seconds of the first step.
    pub first_step_s: f64,
    /// Seconds of computing in it.
    pub compute_s: f64,
    /// No order of these copies takes less.
    pub lower_s: f64,
    /// What it takes if nothing overlaps.
    pub upper_s: f64,
    /// What comes in from all donors: in sizes as their [links](LinkUse) have it.
    pub streamed: Bytes,
    /// The traffic of each donor that holds weights, the fastest first.
    pub links: Vec<LinkUse>,
    /// Whether this rests on measurements.
    pub calibrated: bool,
}

/// An answer of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The home of each unit.
    pub plan: OffloadPlan,
    /// The staging memory that it needs on the compute device.
    pub staging: Bytes,
    /// What to expect of it.
    pub predicted: Predicted,
}

/// Returns the placement that meets the request with the shortest step.
///
/// The fastest donor is filled first; what a slower one takes is spread evenly over what streams. Equal
/// blocks on one link stream at the places ⌊(2j+1)n/(2m)⌋.
pub fn plan(request: &Request) -> Result<Planned, Shortage> {
    let donors = demand::ranked(request)?;
    let ways = demand::ways(request, &donors)?;
    let start = ways.iter().find_map(|way| start(&way.cases).map(|(case, scored)| (way, case, scored)));
    let start = start.or_else(|| ways.iter().find_map(|way| found(&way.cases).map(|(case, scored)| (way, case, scored))));
    let (way, case, scored) = start.ok_or_else(|| demand::in_pieces(request, &donors, ways.last().map_or(&[], |way| &way.cases)))?;
    Ok(finish(request, &way.donors, &improve(case, scored).homes))
}

/// Returns what a step takes with blocks where a plan has put them; of the request, its goal does not matter.
#[must_use]
pub fn expect(request: &Request, plan: &OffloadPlan) -> Predicted {
    let donor = |home: &DeviceId| request.donors.iter().position(|d| d.device == *home);
    predict(request, &request.donors, &plan.homes.iter().map(donor).collect::<Vec<_>>())
}

/// Returns the best of the simple sets over all cases.
fn start(cases: &[Case]) -> Option<(&Case, Scored)> {
    let mut best: Option<(&Case, Scored)> = None;
    for case in demand::few(cases) {
        let Some(scored) = simple(case) else { continue };
        if best.as_ref().is_none_or(|(_, b)| scored.beats(b)) {
            best = Some((case, scored));
        }
    }
    best
}

/// Returns any homes at all, where no simple set keeps the budgets.
fn found(cases: &[Case]) -> Option<(&Case, Scored)> {
    cases.iter().find_map(|case| {
        let homes = rescue(case)?;
        let step_s = case.step_s(&homes);
        Some((case, Scored { homes, step_s }))
    })
}

fn finish(request: &Request, donors: &[DonorLink], homes: &[Option<usize>]) -> Planned {
    let places = homes.iter().map(|h| h.map_or(request.compute, |d| donors[d].device)).collect();
    let largest = request.units.iter().zip(homes).filter(|(_, h)| h.is_some()).map(|(u, _)| u.bytes).max();
    Planned {
        plan: OffloadPlan { compute: request.compute, homes: places },
        staging: request.staging.bytes(largest),
        predicted: predict(request, donors, homes),
    }
}

fn predict(request: &Request, donors: &[DonorLink], homes: &[Option<usize>]) -> Predicted {
    let loads: Vec<Load> =
        request.units.iter().zip(homes).map(|(u, h)| Load { bytes: u.bytes, seconds: demand::seconds(u), link: *h }).collect();
    let links: Vec<Link> = donors.iter().map(demand::link).collect();
    let timing = simulate(&loads, &links, request.staging);
    let over = |link: usize| loads.iter().filter(|l| l.link == Some(link)).map(|l| l.bytes).sum::<Bytes>();
    let uses = donors.iter().enumerate().filter(|(k, _)| homes.contains(&Some(*k)));
    Predicted {
        step_s: timing.step_s,
        first_step_s: timing.first_step_s,
        compute_s: timing.compute_s,
        lower_s: timing.lower_s,
        upper_s: timing.serial_s,
        streamed: loads.iter().filter(|l| l.link.is_some()).map(|l| l.bytes).sum(),
        links: uses.map(|(k, d)| LinkUse { device: d.device, streamed: over(k), transfer_s: timing.busy_s[k] }).collect(),
        calibrated: request.calibrated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    /// Eight blocks of a GiB that compute for as long as one takes to copy.
    fn model_a(goal: Goal, donors: &[(DeviceId, u64, f64)]) -> Request {
        Request {
            compute: DeviceId::Cuda(0),
            units: vec![UnitCost::plain(Bytes::gib(1), 1.0 / 16.0); 8],
            goal,
            staging: Staging::Slots(2),
            donors: donors
                .iter()
                .map(|(device, gib, speed)| DonorLink {
                    device: *device,
                    capacity: Bytes::gib(*gib),
                    bytes_per_second: speed * GIB,
                    latency_s: 0.0,
                })
                .collect(),
            calibrated: true,
        }
    }

    const CPU: (DeviceId, u64, f64) = (DeviceId::Cpu, 64, 16.0);

    fn at(planned: &Planned, device: DeviceId) -> Vec<usize> {
        planned.plan.homes.iter().enumerate().filter(|(_, d)| **d == device).map(|(i, _)| i).collect()
    }

    fn quotas(by_device: &[(DeviceId, Bytes)], rest: Option<DeviceId>) -> Goal {
        Goal::Quotas { by_device: by_device.iter().map(|(device, most)| Quota { device: *device, most: *most }).collect(), rest }
    }

    #[test]
    fn equal_blocks_go_where_the_native_table_says() {
        let gpu = DeviceId::Cuda(0);
        for (case, goal, cpu) in [
            ("A1", Goal::Free(Bytes::gib(4)), vec![1, 3, 5, 7]),
            ("A2", Goal::Free(Bytes::mib(512)), vec![4]),
            ("A3", Goal::Free(Bytes::gib(99)), (0..8).collect()),
            ("A11", Goal::Free("2.3GiB".parse().unwrap()), vec![1, 4, 6]),
            ("A13", quotas(&[(gpu, Bytes::gib(3))], Some(DeviceId::Cpu)), vec![0, 2, 4, 5, 7]),
            ("A19", quotas(&[(gpu, Bytes::gib(1024))], Some(DeviceId::Cpu)), vec![]),
            ("A25", quotas(&[(gpu, Bytes::gib(4))], Some(DeviceId::Cpu)), vec![1, 3, 5, 7]),
        ] {
            let planned = plan(&model_a(goal, &[CPU])).unwrap();
            assert_eq!(at(&planned, DeviceId::Cpu), cpu, "{case}");
            assert_eq!(at(&planned, gpu).len() + cpu.len(), 8, "{case}");
        }
    }

    #[test]
    fn a_slower_donor_takes_an_even_part_of_what_streams() {
        // A5. The order in which donors are named does not matter, their speed does.
        for donors in [[(DeviceId::Cuda(1), 4, 20.0), CPU], [CPU, (DeviceId::Cuda(1), 4, 20.0)]] {
            let planned = plan(&model_a(Goal::Free(Bytes::gib(6)), &donors)).unwrap();
            assert_eq!(at(&planned, DeviceId::Cuda(1)), [0, 3, 4, 7]);
            assert_eq!(at(&planned, DeviceId::Cpu), [2, 6]);
            assert_eq!(at(&planned, DeviceId::Cuda(0)), [1, 5]);
            let streamed: Vec<_> = planned.predicted.links.iter().map(|l| (l.device, l.streamed)).collect();
            assert_eq!(streamed, [(DeviceId::Cuda(1), Bytes::gib(4)), (DeviceId::Cpu, Bytes::gib(2))]);
            assert_eq!((planned.staging, planned.predicted.calibrated), (Bytes::gib(2), true));
        }
    }

    #[test]
    fn pinned_weights_are_charged_to_the_compute_device_first() {
        // T1 with its table pinned: what is freed comes from the blocks.
        let unit = |mib, stay| UnitCost { stay, ..UnitCost::plain(Bytes::mib(mib), 0.1) };
        let units = [vec![unit(1024, Stay::Pinned)], vec![unit(512, Stay::Movable); 4]].concat();
        let request = Request { units, ..model_a(Goal::Free(Bytes::gib(1)), &[CPU]) };
        assert_eq!(at(&plan(&request).unwrap(), DeviceId::Cpu), [2, 4]);
        let held = |most: Bytes| plan(&Request { goal: Goal::Hold(most), ..request.clone() });
        assert_eq!(at(&held(Bytes::mib(2048)).unwrap(), DeviceId::Cpu), [1, 2, 3, 4]);
        assert_eq!(held(Bytes::mib(2047)), Err(Shortage::Staging { device: DeviceId::Cuda(0), missing: Bytes::mib(1) }));
        assert_eq!(held(Bytes::mib(1000)), Err(Shortage::Pinned { device: DeviceId::Cuda(0), missing: Bytes::mib(24) }));
        assert!(at(&held(Bytes::mib(3072)).unwrap(), DeviceId::Cpu).is_empty());
    }

    #[test]
    fn small_budgets_stream_small_units() {
        let unit = |mib| UnitCost::plain(Bytes::mib(mib), 0.001);
        let request = Request { units: [600, 100, 600, 100, 100].map(unit).to_vec(), ..model_a(Goal::Hold(Bytes::mib(1400)), &[CPU]) };
        // Two slots of 600 leave 200 to stay, so 1300 stream; with slots of 100 both large ones stay, and only 300 do.
        assert_eq!(at(&plan(&request).unwrap(), DeviceId::Cpu), [1, 3, 4]);
    }

    #[test]
    fn what_the_compute_device_takes_as_the_rest_is_what_donors_may_not() {
        let goal = quotas(&[(DeviceId::Cpu, Bytes::mib(3500))], Some(DeviceId::Cuda(0)));
        assert_eq!(at(&plan(&model_a(goal, &[CPU])).unwrap(), DeviceId::Cpu), [1, 4, 6]);
    }

    #[test]
    fn a_shortage_names_the_device_the_bytes_and_a_way_out() {
        let gpu = DeviceId::Cuda(0);
        let small = (DeviceId::Cpu, 3, 16.0);
        for (request, device, missing, text, hint) in [
            (
                model_a(Goal::Free(Bytes::gib(6)), &[(DeviceId::Cuda(1), 1, 20.0), small]),
                DeviceId::Cpu,
                Bytes::gib(2),
                "place weights beyond cpu, the last donor: 2.0 GiB have no room anywhere",
                "give cpu or another donor 2.0 GiB more, add a donor, or free less",
            ),
            (
                model_a(Goal::Free(Bytes::gib(6)), &[(gpu, 64, 99.0)]),
                gpu,
                Bytes::gib(6),
                "move 6.0 GiB of weights off cuda:0: no other device may hold them",
                "name a donor with 6.0 GiB of room, such as cpu, or let cuda:0 keep more",
            ),
            (
                Request { staging: Staging::Ring(Bytes::mib(1000)), ..model_a(Goal::Free(Bytes::gib(1)), &[CPU]) },
                gpu,
                Bytes::mib(24),
                "move block 0 off cuda:0: the staging ring is 24.0 MiB too small for it",
                "free 24.0 MiB of cuda:0, or allow it so much more: blocks pass through it",
            ),
            (
                model_a(Goal::Free(Bytes::gib(1)), &[(DeviceId::Disk, 64, 0.0)]),
                DeviceId::Disk,
                Bytes::gib(64),
                "plan with disk: its link has no speed; 64.0 GiB of room lie behind it",
                "measure the link to disk, or leave it out",
            ),
            (
                Request {
                    donors: [DeviceId::Cpu, DeviceId::Disk]
                        .map(|device| DonorLink { device, capacity: Bytes::mib(1000), bytes_per_second: 1e9, latency_s: 0.0 })
                        .to_vec(),
                    ..model_a(Goal::Free(Bytes::gib(1)), &[])
                },
                DeviceId::Disk,
                Bytes::gib(1),
                "fit whole blocks into what is left up to disk, the last donor: 1.0 GiB must leave",
                "give disk room for one more block, or free less",
            ),
        ] {
            let shortage = plan(&request).unwrap_err();
            assert_eq!((shortage.device(), shortage.missing()), (device, missing));
            assert_eq!((shortage.to_string().as_str(), shortage.hint().as_str()), (text, hint));
        }
    }
}
