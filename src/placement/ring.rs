//! How much memory blocks pass through: the least with which a step is as fast, or more where that makes it much faster.

use super::plan::OffloadPlan;
use super::planner::{self, Planned, Predicted, Request};
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

/// Returns the sizes of what passes through.
pub(super) fn streamed<'a>(plan: &'a OffloadPlan, model: &'a Model) -> impl Iterator<Item = Bytes> + 'a {
    model.units.iter().zip(&plan.homes).filter(|(_, home)| **home != plan.compute).map(|(unit, _)| unit.bytes)
}

/// Gives a plan that was made for slots the smallest ring through which a step is as fast; a larger one than the slots, of
/// at most `most` bytes, where that makes it much faster.
///
/// It is as large as the slots where speeds are guessed, and not smaller where weights are stored as something else than
/// they are computed with: the block in use is then expanded beside it.
pub(super) fn through_a_ring(request: &Request, planned: Planned, model: &Model, most: Bytes) -> Planned {
    let Some(largest) = streamed(&planned.plan, model).max() else { return planned };
    let slots = Staging::Slots(SLOTS).bytes(Some(largest));
    let all: Bytes = streamed(&planned.plan, model).sum();
    #[expect(clippy::float_cmp, reason = "exactly 1 is what equal sizes give")]
    let may_shrink = request.calibrated && model.stored_share == 1.0;
    let smaller = (0..SIZES).map(|n| Bytes(largest.get() + (slots - largest).get() * n / SIZES).min(all));
    let ring = |size| if request.compute == DeviceId::Cpu { Staging::Flowing(size) } else { Staging::Ring(size) };
    let expect = |size| planner::expect(&Request { staging: ring(size), ..request.clone() }, &planned.plan);
    let foreseen = |size| (size, expect(size));
    let as_slots = foreseen(slots.min(all));
    // A ring that flows is faster than slots of its size.
    let enough = planned.predicted.step_s.min(as_slots.1.step_s) * WORTH_LESS_STAGING;
    let fast = || smaller.map(foreseen).find(|(_, predicted)| predicted.step_s <= enough);
    let (usual, predicted) = may_shrink.then(fast).flatten().unwrap_or(as_slots);
    // No ring makes a step faster than the busiest link, or computing.
    let may_gain = predicted.step_s > predicted.lower_s * WORTH_MORE_STAGING;
    let larger = may_gain.then(|| larger_ring((largest, slots, all), most, request, foreseen)).flatten();
    let worth_it = larger.filter(|(_, faster)| predicted.step_s > faster.step_s * WORTH_MORE_STAGING);
    let (staging, predicted) = worth_it.unwrap_or((usual, predicted));
    Planned { staging, predicted, plan: planned.plan }
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
