//! How much memory blocks pass through: the least with which a step is as fast, or more where that makes it much faster. And how
//! much of it need not come on top of what stays.

use super::plan::OffloadPlan;
use super::planner::{self, Planned, Predicted, Request, Stay};
use super::portfolio::TIE;
use super::propose::Model;
use super::simulate::Staging;
use crate::units::{Bytes, DeviceId};

/// What plans are compared with: room for two of the largest streamed block, one computed with while the other comes.
pub(super) const SLOTS: u32 = 2;
/// How much longer a step may take for staging memory that is smaller than that.
const WORTH_LESS_STAGING: f64 = 1.005;
/// Sizes of staging memory that are tried between one largest block and two.
const SIZES: u64 = 16;
/// How much longer a step takes where more staging memory than that is worth it: blocks that are large and soon computed
/// with have then come while others compute that are small and take long.
const WORTH_MORE_STAGING: f64 = 1.02;
/// How much of the time that more staging memory could save may be left for having less of it.
const NEARLY_ALL: f64 = 1.01;
/// The most staging memory, as a share of what leaves: so many parts of so many.
const MOST_STAGING: (u64, u64) = (2, 5);

/// Blocks that are tried for leaving beside what was asked to, those first whose computing hides most.
const FEW: usize = 8;

/// Returns what leaves the device that computes.
pub(super) fn left(plan: &OffloadPlan, model: &Model) -> Bytes {
    model.streamed(plan).map(|unit| unit.bytes).sum()
}

/// Returns what stays on the device that computes.
pub(super) fn kept(plan: &OffloadPlan, model: &Model) -> Bytes {
    model.bytes() - left(plan, model)
}

/// Returns what stays and what the others pass through together.
pub(super) fn taken(planned: &Planned, model: &Model) -> Bytes {
    kept(&planned.plan, model) + planned.staging
}

/// Gives a plan that was made for slots the smallest ring through which a step is as fast; a larger one than the slots, of
/// at most `most` bytes, where that makes it much faster.
///
/// It is as large as the slots where speeds are guessed, and not smaller where weights are stored as something else than
/// they are computed with: the block in use is then expanded beside it.
pub(super) fn through_a_ring(request: &Request, planned: Planned, model: &Model, most: Bytes) -> Planned {
    let Some(largest) = model.streamed(&planned.plan).map(|unit| unit.bytes).max() else { return planned };
    let slots = Staging::Slots(SLOTS).bytes(Some(largest));
    let all = left(&planned.plan, model);
    #[expect(clippy::float_cmp, reason = "exactly 1 is what equal sizes give")]
    let may_shrink = request.calibrated && model.stored_share == 1.0;
    let smaller = (0..SIZES).map(|n| Bytes(largest.get() + (slots - largest).get() * n / SIZES).min(all));
    let foreseen = |size| (size, expect(request, &planned.plan, size));
    let as_slots = foreseen(slots.min(all));
    let tried: Vec<(Bytes, Predicted)> = if may_shrink { smaller.map(foreseen).collect() } else { Vec::new() };
    // A ring that flows is faster than slots of its size, and sometimes than a larger one.
    let steps = tried.iter().chain([&as_slots]).map(|(_, predicted)| predicted.step_s);
    let enough = steps.fold(planned.predicted.step_s, f64::min) * WORTH_LESS_STAGING;
    let (usual, predicted) = tried.into_iter().find(|(_, predicted)| predicted.step_s <= enough).unwrap_or(as_slots);
    // No ring makes a step faster than the busiest link, or computing.
    let may_gain = predicted.step_s > predicted.lower_s * WORTH_MORE_STAGING;
    let larger = may_gain.then(|| larger_ring((largest, slots, all), most, request, foreseen)).flatten();
    let worth_it = larger.filter(|(_, faster)| predicted.step_s > faster.step_s * WORTH_MORE_STAGING);
    let (staging, predicted) = worth_it.unwrap_or((usual, predicted));
    Planned { staging, predicted, plan: planned.plan }
}

/// Returns what a step takes through a ring of this size.
pub(super) fn expect(request: &Request, plan: &OffloadPlan, size: Bytes) -> Predicted {
    let staging = if request.compute == DeviceId::Cpu { Staging::Flowing(size) } else { Staging::Ring(size) };
    planner::expect(&Request { staging, ..request.clone() }, plan)
}

/// Returns the smallest ring beyond the slots that is nearly as good as any, where a step's seconds can be foretold at all.
/// Who has the processor compute with weights on the disk wants memory more than time: there it is the one whose share of
/// what leaves and whose share of the fastest step are least together.
fn larger_ring(
    (largest, slots, all): (Bytes, Bytes, Bytes),
    most: Bytes,
    request: &Request,
    foreseen: impl Fn(Bytes) -> (Bytes, Predicted),
) -> Option<(Bytes, Predicted)> {
    let most = most.min(Bytes(all.get() / MOST_STAGING.1 * MOST_STAGING.0));
    let halves = (1u64..).map(|n| Bytes(slots.get() + largest.get() / 2 * n)).take_while(|size| *size <= most);
    let tried: Vec<(Bytes, Predicted)> = if request.calibrated { halves.map(foreseen).collect() } else { Vec::new() };
    let best = tried.iter().map(|(_, predicted)| predicted.step_s).fold(f64::INFINITY, f64::min);
    let price = |(size, predicted): &(Bytes, Predicted)| predicted.step_s / best + size.get() as f64 / all.get() as f64;
    match request.compute {
        DeviceId::Cpu => tried.into_iter().min_by(|a, b| price(a).total_cmp(&price(b))),
        _ => tried.into_iter().find(|(_, predicted)| predicted.step_s <= best * NEARLY_ALL),
    }
}

/// Has more blocks leave for a smaller sum of what stays and the ring, as long as that is more than `asked` and a step takes no
/// longer than with `ringed`: blocks that stay then make room for those that pass through. `from` is `ringed`, or what came of it
/// for a larger `asked`.
///
/// That is done where the processor computes with weights as they are stored: there memory is wanted more than time. Else staging
/// memory comes on top of what stays.
pub(super) fn counted(request: &Request, ringed: &Planned, from: Planned, model: &Model, asked: Bytes) -> Planned {
    if request.compute != DeviceId::Cpu || !request.calibrated || !model.is_as_stored() || from.staging == Bytes::ZERO {
        return from;
    }
    let limit_s = ringed.predicted.step_s * (1.0 + TIE);
    let (mut least, mut now) = (from.clone(), from);
    while taken(&least, model) > asked
        && let Some(leaner) = leaner(request, &now, model, limit_s)
    {
        now = leaner;
        if taken(&now, model) < taken(&least, model) {
            least = now.clone();
        }
    }
    least
}

/// Returns the plan with one more block away and no more memory taken, where one is within the limit: the fastest such, through the
/// smallest ring that is.
fn leaner(request: &Request, now: &Planned, model: &Model, limit_s: f64) -> Option<Planned> {
    let plans = may_leave(request, &now.plan, model).into_iter().map(|(unit, donor)| {
        let mut plan = now.plan.clone();
        plan.homes[unit] = donor;
        let room = now.staging + model.units[unit].bytes;
        (expect(request, &plan, room), plan, room)
    });
    let (_, plan, room) = plans.filter(|(p, ..)| p.step_s <= limit_s).min_by(|(a, ..), (b, ..)| a.step_s.total_cmp(&b.step_s))?;
    let largest = model.streamed(&plan).map(|unit| unit.bytes).max()?;
    let sizes = (0..=SIZES).map(|n| Bytes(largest.get() + room.saturating_sub(largest).get() * n / SIZES));
    let (staging, predicted) = sizes.map(|size| (size, expect(request, &plan, size))).find(|(_, p)| p.step_s <= limit_s)?;
    Some(Planned { plan, staging, predicted })
}

/// Returns a few blocks that stay and need not, each with the fastest donor that has room for it.
fn may_leave(request: &Request, plan: &OffloadPlan, model: &Model) -> Vec<(usize, DeviceId)> {
    let held = |device| model.units.iter().zip(&plan.homes).filter(|(_, home)| **home == device).map(|(u, _)| u.stored).sum::<Bytes>();
    let rooms: Vec<_> = request.donors.iter().map(|donor| (donor, donor.capacity.saturating_sub(held(donor.device)))).collect();
    let with_donor = |unit: usize| {
        let fits = rooms.iter().filter(|(donor, room)| donor.device != request.compute && *room >= request.units[unit].stored);
        let fastest = fits.max_by(|(a, _), (b, _)| a.bytes_per_second.total_cmp(&b.bytes_per_second))?;
        Some((unit, fastest.0.device))
    };
    let stays = |unit: &usize| plan.homes[*unit] == request.compute && request.units[*unit].stay == Stay::Movable;
    let mut units: Vec<usize> = (0..request.units.len()).filter(stays).collect();
    let per_byte = |unit: usize| request.units[unit].seconds / request.units[unit].bytes.get().max(1) as f64;
    units.sort_by(|a, b| per_byte(*b).total_cmp(&per_byte(*a)));
    units.into_iter().filter_map(with_donor).take(FEW).collect()
}
