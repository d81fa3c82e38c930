//! The simple placements that are tried first.
//!
//! The simulator is the only judge. A later placement takes over only where it is strictly faster, so
//! equal blocks keep the even set.

use super::case::{Case, Homes};
use super::packing::{even_cover, spread};
use super::pipeline::Pipeline;
use crate::units::Bytes;

/// Times this close, relatively, are equal.
pub(super) const TIE: f64 = 1e-9;

/// A placement and what a step takes with it.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) homes: Homes,
    pub(super) step_s: f64,
}

impl Scored {
    /// Returns whether `self` is faster by more than rounding.
    pub(super) fn beats(&self, other: &Self) -> bool {
        self.step_s < other.step_s * (1.0 - TIE)
    }
}

/// Returns the best of the simple placements, the first where several are as fast, or `None` where none keeps every budget.
pub(super) fn simple(case: &Case) -> Option<Scored> {
    let mut pipeline = case.pipeline();
    let bound_s = case.bound_s() * (1.0 + TIE);
    let mut best: Option<Scored> = None;
    for make in [even, known, bucket, bucket_filled, head, tail, largest, original] {
        let Some(homes) = make(case) else { continue };
        let step_s = pipeline.step_s(&homes, best.as_ref().map_or(f64::INFINITY, |b| b.step_s), None);
        let scored = Scored { homes, step_s };
        if best.as_ref().is_none_or(|b| scored.beats(b)) {
            best = Some(scored);
        }
        if best.as_ref().is_some_and(|b| b.step_s <= bound_s) {
            break;
        }
    }
    best
}

impl Case {
    /// Returns the clockwork that scores placements of this case.
    pub(super) fn pipeline(&self) -> Pipeline {
        Pipeline::new(&self.seconds, &self.bytes, &self.links, self.staging)
    }

    /// Returns what a step takes with these homes.
    pub(super) fn step_s(&self, homes: &[Option<usize>]) -> f64 {
        self.pipeline().step_s(homes, f64::INFINITY, None)
    }

    /// Returns homes for all that may leave and is not in `stays`.
    fn without(&self, stays: &[bool]) -> Option<Homes> {
        let streamed: Vec<usize> = self.movable.iter().copied().filter(|&i| !stays[i]).collect();
        spread(self, &streamed)
    }

    /// Returns what stays when units are taken in `order` as long as they fit.
    fn fill(&self, mut stays: Vec<bool>, order: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let kept: u64 = self.movable.iter().filter(|&&i| stays[i]).map(|&i| self.bytes[i]).sum();
        let mut left = self.stay().saturating_sub(kept);
        for unit in order {
            if !stays[unit] && self.bytes[unit] <= left {
                left -= self.bytes[unit];
                stays[unit] = true;
            }
        }
        stays
    }

    fn none(&self) -> Vec<bool> {
        vec![false; self.bytes.len()]
    }
}

fn even(case: &Case) -> Option<Homes> {
    let sizes: Vec<u64> = case.movable.iter().map(|&i| case.bytes[i]).collect();
    let mut stays = case.none();
    for &unit in &case.movable {
        stays[unit] = true;
    }
    for place in even_cover(&sizes, case.need)? {
        stays[case.movable[place]] = false;
    }
    // Unequal blocks overshoot: what need not leave stays.
    let stays = case.fill(stays, case.movable.iter().copied());
    case.without(&stays)
}

fn known(case: &Case) -> Option<Homes> {
    case.known.clone()
}

fn bucket(case: &Case) -> Option<Homes> {
    case.without(&leaky(case))
}

fn bucket_filled(case: &Case) -> Option<Homes> {
    let speed = case.links.first()?.bytes_per_second;
    let gain = |i: usize| case.seconds[i] - case.bytes[i] as f64 / speed;
    let mut order = case.movable.clone();
    order.sort_by(|&a, &b| gain(a).total_cmp(&gain(b)));
    case.without(&case.fill(leaky(case), order))
}

fn head(case: &Case) -> Option<Homes> {
    let mut left = case.stay();
    let prefix = case.movable.iter().copied().take_while(|&i| {
        let fits = case.bytes[i] <= left;
        left = left.saturating_sub(case.bytes[i]);
        fits
    });
    let mut stays = case.none();
    for unit in prefix {
        stays[unit] = true;
    }
    case.without(&stays)
}

fn tail(case: &Case) -> Option<Homes> {
    case.without(&case.fill(case.none(), case.movable.iter().rev().copied()))
}

fn largest(case: &Case) -> Option<Homes> {
    let mut order = case.movable.clone();
    order.sort_by_key(|&i| std::cmp::Reverse(case.bytes[i]));
    case.without(&case.fill(case.none(), order))
}

/// The original's own set: from the tail, each unit goes to the first device, by name, whose quota has room. Where
/// the original would have left a unit over the quota on the compute device, a donor takes it.
fn original(case: &Case) -> Option<Homes> {
    let densest = case.densest();
    let mut quotas = vec![0; case.caps.len()];
    let mut rest = case.need;
    for &donor in &case.as_listed {
        quotas[donor] = rest.min(densest.computed(Bytes(case.caps[donor])).get());
        rest -= quotas[donor];
    }
    let mut room = case.caps.clone();
    let mut stay = case.stay();
    let mut homes = case.fixed.clone();
    for &unit in case.movable.iter().rev() {
        let (size, stored) = (case.bytes[unit], case.stored[unit]);
        let fits = |seat: &&Option<usize>| seat.map_or(size <= stay, |d| size <= quotas[d] && stored <= room[d]);
        let seat = match case.by_name.iter().find(fits) {
            Some(seat) => *seat,
            None => Some(room.iter().position(|r| *r >= stored)?),
        };
        match seat {
            None => stay -= size,
            Some(donor) => {
                room[donor] = room[donor].checked_sub(stored)?;
                quotas[donor] = quotas[donor].saturating_sub(size);
            }
        }
        homes[unit] = seat;
    }
    Some(homes)
}

/// Returns what stays of a leaky bucket: units earn the time they compute and pay for their bytes at a made-up
/// bandwidth, which is halved in on until those that cannot pay just fit.
fn leaky(case: &Case) -> Vec<bool> {
    let mut movable = case.none();
    for &unit in &case.movable {
        movable[unit] = true;
    }
    let stay = case.stay();
    if case.need == 0 {
        return movable;
    }
    let compute: f64 = case.seconds.iter().sum();
    let run = |bandwidth: f64, stays: &mut Vec<bool>| {
        let mut credit: f64 = 0.0;
        for _ in 0..3 {
            for i in 0..case.bytes.len() {
                let price = case.bytes[i] as f64 / bandwidth;
                stays[i] = movable[i] && credit < price - 1e-12;
                credit += case.seconds[i] - if movable[i] && !stays[i] { price } else { 0.0 };
            }
            credit = credit.min(compute);
        }
        case.movable.iter().filter(|&&i| stays[i]).map(|&i| case.bytes[i]).sum::<u64>() <= stay
    };
    let mut stays = case.none();
    let (mut low, mut high): (f64, f64) = (1e3, 1e15);
    while high / low > 1.0 + 1e-9 {
        let middle = (low * high).sqrt();
        if run(middle, &mut stays) { high = middle } else { low = middle }
    }
    // Without any computing nothing can pay, however cheap: then all leaves.
    if run(high, &mut stays) { stays } else { case.none() }
}
