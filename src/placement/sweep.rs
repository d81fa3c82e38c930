//! What a step costs for each amount of memory that is freed, and which amounts are worth knowing.

use super::demand;
use super::planner::{DonorLink, Goal, Planned, Request, Stay, plan};
use super::propose::on_average;
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
    /// What stays on the compute device then, with the memory that the others pass through.
    pub needed: Bytes,
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
    sweep_through(request, points, |planned| planned, |_, planned, _| planned)
}

/// Returns the same curve of plans each of which is first given other staging memory, and then for every amount, from what came of
/// it for the amount before, other blocks that stay.
pub(super) fn sweep_through(
    request: &Request,
    points: u32,
    ring: impl Fn(Planned) -> Planned,
    count: impl Fn(&Planned, Planned, Bytes) -> Planned,
) -> Vec<Point> {
    let total: Bytes = request.units.iter().map(|u| u.bytes).sum();
    let whole = movable(request).get();
    let last = u64::from(points.saturating_sub(1)).max(1);
    let mut curve: Vec<Point> = Vec::new();
    let mut kept: Option<(Planned, Planned)> = None;
    for k in 0..u64::from(points) {
        let freed = Bytes((u128::from(whole) * u128::from(k) / u128::from(last)) as u64);
        // A plan that already frees this much frees it as well.
        let (ringed, from) = if let Some(both) = kept.take().filter(|(ringed, _)| ringed.predicted.streamed >= freed) {
            both
        } else {
            let Ok(planned) = plan(&freeing(request, freed)) else { break };
            let ringed = ring(planned);
            (ringed.clone(), ringed)
        };
        let counted = count(&ringed, from, freed);
        curve.push(Point {
            freed,
            step_s: counted.predicted.step_s,
            lower_s: counted.predicted.lower_s,
            needed: (total - counted.predicted.streamed) + counted.staging,
        });
        kept = Some((ringed, counted));
    }
    // So does the plan for more, and sometimes the search finds a faster one there.
    for k in (1..curve.len()).rev() {
        if curve[k].step_s < curve[k - 1].step_s {
            (curve[k - 1].step_s, curve[k - 1].lower_s) = (curve[k].step_s, curve[k].lower_s);
        }
    }
    curve
}

/// Returns between which amounts that leave the least lies with which what stays and what the others pass through fit into
/// `free`: with the first it does not, and with the second it does whichever blocks leave, or it is all that donors have room for.
pub(super) fn budgets(request: &Request, free: Bytes) -> (Bytes, Bytes) {
    let total: Bytes = request.units.iter().map(|u| u.bytes).sum();
    let largest = request.units.iter().filter(|u| u.stay != Stay::Pinned && request.staging.passes(u.bytes)).map(|u| u.bytes).max();
    let over = total.saturating_sub(free);
    let room = request.donors.iter().fold(0u64, |sum, donor| sum.saturating_add(donor.capacity.get()));
    let room = on_average(&request.units).computed(Bytes(room));
    let high = (over + request.staging.bytes(largest)).min(movable(request)).min(room);
    (over.saturating_sub(Bytes(1)).min(high), high)
}

/// Amounts that are tried before the least is halved in on, since not all that are larger than one that fits do.
const TRIES: u64 = 16;

/// Returns the least amount above `low` that can be placed, of a few up to `high` the first and from there down to the byte.
pub(super) fn least<E>(mut low: Bytes, high: Bytes, placed: impl Fn(Bytes) -> Result<Bytes, E>) -> Result<Bytes, E> {
    let span = high - low;
    let few = (1..TRIES).map(|n| Bytes((u128::from(span.get()) * u128::from(n) / u128::from(TRIES)) as u64) + low);
    let mut found = None;
    for bytes in few.filter(|bytes| *bytes > low && *bytes < high).collect::<Vec<_>>() {
        if placed(bytes).is_ok() {
            found = Some(bytes);
            break;
        }
        low = bytes;
    }
    let mut fits = found.map_or_else(|| placed(high), Ok)?;
    while fits - low > Bytes(1) {
        let middle = Bytes(low.get() + (fits - low).get() / 2);
        if placed(middle).is_ok() { fits = middle } else { low = middle }
    }
    Ok(fits)
}

/// Returns the least that must stay on the compute device for every copy to hide behind the computing: what the
/// links do not carry in that time, and what is pinned.
#[must_use]
pub fn least_resident(request: &Request) -> Bytes {
    let total: Bytes = request.units.iter().map(|u| u.bytes).sum();
    let compute_s: f64 = request.units.iter().map(demand::seconds).sum();
    let stored = on_average(&request.units);
    let carried = |d: &DonorLink| {
        #[expect(clippy::cast_sign_loss, reason = "speeds and times are not negative; what is too large saturates")]
        let in_time = (d.bytes_per_second.max(0.0) * compute_s) as u64;
        Bytes(in_time).min(stored.computed(d.capacity))
    };
    let hidden: Bytes = request.donors.iter().filter(|d| d.device != request.compute).map(carried).sum();
    (total - hidden).max(total - movable(request))
}
