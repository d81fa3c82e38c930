//! What a step costs for each amount of memory that is freed, and which amounts are worth knowing.

use super::demand;
use super::planner::{DonorLink, Goal, Predicted, Request, Stay, plan};
use super::shortage::Shortage;
use crate::units::Bytes;

/// One point of the curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// At least so much leaves the compute device.
    pub freed: Bytes,
    /// Seconds of a step then.
    pub step_s: f64,
    /// No order of the copies takes less.
    pub lower_s: f64,
}

fn freeing(request: &Request, bytes: Bytes) -> Request {
    Request { goal: Goal::Free(bytes), ..request.clone() }
}

fn movable(request: &Request) -> Bytes {
    request.units.iter().filter(|u| u.stay != Stay::Pinned).map(|u| u.bytes).sum()
}

/// Returns the curve of `points` amounts, from nothing freed to all that may leave, whatever the goal. It never
/// falls, and ends before the first amount for which there is no placement.
#[must_use]
pub fn sweep(request: &Request, points: u32) -> Vec<Point> {
    let whole = movable(request).get();
    let last = u64::from(points.saturating_sub(1)).max(1);
    let mut curve: Vec<Point> = Vec::new();
    let mut kept: Option<Predicted> = None;
    for k in 0..u64::from(points) {
        let freed = Bytes((u128::from(whole) * u128::from(k) / u128::from(last)) as u64);
        // A plan that already frees this much frees it as well.
        if kept.as_ref().is_none_or(|p| p.streamed < freed) {
            let Ok(planned) = plan(&freeing(request, freed)) else { break };
            kept = Some(planned.predicted);
        }
        curve.extend(kept.iter().map(|p| Point { freed, step_s: p.step_s, lower_s: p.lower_s }));
    }
    // So does the plan for more, and sometimes the search finds a faster one there.
    for k in (1..curve.len()).rev() {
        if curve[k].step_s < curve[k - 1].step_s {
            (curve[k - 1].step_s, curve[k - 1].lower_s) = (curve[k].step_s, curve[k].lower_s);
        }
    }
    curve
}

/// Returns the smallest virtual memory with which what stays and the staging for any block fit into `free`.
///
/// Freeing that much needs no more, whichever blocks then leave.
pub fn smallest_budget(request: &Request, free: Bytes) -> Result<Bytes, Shortage> {
    let total: Bytes = request.units.iter().map(|u| u.bytes).sum();
    if total <= free {
        return Ok(Bytes::ZERO);
    }
    let largest = request.units.iter().filter(|u| u.stay != Stay::Pinned && request.staging.passes(u.bytes)).map(|u| u.bytes).max();
    let budget = total - free + request.staging.bytes(largest);
    let missing = budget - movable(request);
    if missing > Bytes::ZERO {
        return Err(Shortage::Staging { device: request.compute, missing });
    }
    Ok(budget)
}

/// Returns the least that must stay on the compute device for every copy to hide behind the computing: what the
/// links do not carry in that time, and what is pinned.
#[must_use]
pub fn least_resident(request: &Request) -> Bytes {
    let total: Bytes = request.units.iter().map(|u| u.bytes).sum();
    let compute_s: f64 = request.units.iter().map(demand::seconds).sum();
    let carried = |d: &DonorLink| {
        #[expect(clippy::cast_sign_loss, reason = "speeds and times are not negative; what is too large saturates")]
        let in_time = (d.bytes_per_second.max(0.0) * compute_s) as u64;
        Bytes(in_time).min(d.capacity)
    };
    let hidden: Bytes = request.donors.iter().filter(|d| d.device != request.compute).map(carried).sum();
    (total - hidden).max(total - movable(request))
}
