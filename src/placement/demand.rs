//! From a request to cases: which budgets follow from the goal, and why there are none.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::case::Case;
use super::packing::{even, spread};
use super::planner::{DonorLink, Goal, Quota, Request, Stay, UnitCost};
use super::propose::on_average;
use super::shortage::Shortage;
use super::simulate::{Link, Staging};
use crate::units::{BlockIndex, Bytes, DeviceId};

/// Cases of one request that get the whole portfolio.
const FEW: usize = 4;

/// Returns a unit's time as the simulator takes it.
pub(super) fn seconds(unit: &UnitCost) -> f64 {
    if unit.seconds.is_finite() { unit.seconds.max(0.0) } else { 0.0 }
}

/// Returns the link of a donor as the simulator takes it.
pub(super) fn link(donor: &DonorLink) -> Link {
    let latency_s = if donor.latency_s.is_finite() { donor.latency_s.max(0.0) } else { 0.0 };
    Link { bytes_per_second: donor.bytes_per_second, latency_s }
}

/// Returns the donors with what the goal lets them hold, the fastest first and who takes the rest last; each device once, the compute
/// device never.
pub(super) fn ranked(request: &Request) -> Result<Vec<DonorLink>, Shortage> {
    let mut donors: Vec<DonorLink> = Vec::new();
    for donor in &request.donors {
        let known = donor.device == request.compute || donors.iter().any(|d| d.device == donor.device);
        if known {
            continue;
        }
        let speed = donor.bytes_per_second;
        if !(speed.is_finite() && speed > 0.0) {
            return Err(Shortage::Unmeasured { device: donor.device, missing: donor.capacity });
        }
        donors.push(DonorLink { capacity: donor.capacity.min(allowed(&request.goal, donor.device)), ..*donor });
    }
    for (device, pinned) in pinned_away(request) {
        let donor = donors.iter_mut().find(|d| d.device == device);
        let room = donor.as_ref().map_or(Bytes::ZERO, |d| d.capacity);
        match donor {
            Some(donor) if pinned <= room => donor.capacity = room - pinned,
            Some(_) | None => return Err(Shortage::PinnedAway { device, missing: pinned.saturating_sub(room).max(Bytes(1)) }),
        }
    }
    let is_last = |donor: &DonorLink| rest(&request.goal) == Some(donor.device);
    donors.sort_by(|a, b| is_last(a).cmp(&is_last(b)).then(b.bytes_per_second.total_cmp(&a.bytes_per_second)));
    Ok(donors)
}

/// Returns what must live on each other device.
fn pinned_away(request: &Request) -> BTreeMap<DeviceId, Bytes> {
    let mut sums: BTreeMap<DeviceId, Bytes> = BTreeMap::new();
    for unit in &request.units {
        if let Stay::At(device) = unit.stay {
            *sums.entry(device).or_default() += unit.stored;
        }
    }
    sums
}

/// Returns the most that the goal lets a donor hold.
fn allowed(goal: &Goal, device: DeviceId) -> Bytes {
    match goal {
        Goal::Free(_) | Goal::Hold(_) => Bytes(u64::MAX),
        Goal::Quotas { .. } if rest(goal) == Some(device) => Bytes(u64::MAX),
        Goal::Quotas { by_device, rest: _ } => quota(by_device, device).unwrap_or(Bytes::ZERO),
    }
}

/// Returns who takes what the others do not.
fn rest(goal: &Goal) -> Option<DeviceId> {
    match goal {
        Goal::Free(_) | Goal::Hold(_) => None,
        Goal::Quotas { by_device: _, rest } => *rest,
    }
}

fn quota(by_device: &[Quota], device: DeviceId) -> Option<Bytes> {
    by_device.iter().find(|q| q.device == device).map(|q| q.most)
}

/// One way to read a request: what donors may hold, and the cases that follow.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) donors: Vec<DonorLink>,
    pub(super) cases: Vec<Case>,
}

/// Returns the ways to read a request, the first of which that can be met is meant.
///
/// Who takes the rest has at first room for no more than what the others are not to take: it may be the fastest, and would take
/// everything. As whole blocks seldom come out even, it then has more and more, and last what it has.
pub(super) fn ways(request: &Request, donors: &[DonorLink]) -> Result<Vec<Way>, Shortage> {
    let freely = cases(request, donors)?;
    let mut ways = Vec::new();
    let taker = rest(&request.goal).filter(|device| *device != request.compute);
    if let (Some(_), Some((last, others)), Some(case)) = (taker, donors.split_last(), freely.first()) {
        let leaving = on_average(&request.units).stored(Bytes(case.need));
        let theirs = others.iter().fold(0u64, |sum, donor| sum.saturating_add(donor.capacity.get()));
        let half = case.movable.iter().map(|&unit| case.stored[unit]).max().unwrap_or_default().div_ceil(2);
        for halves in 0..=2 * others.len() as u64 {
            let capacity = last.capacity.min(Bytes(leaving.get().saturating_sub(theirs) + half * halves));
            let donors = [others, &[DonorLink { capacity, ..*last }]].concat();
            ways.extend(cases(request, &donors).ok().map(|cases| Way { donors, cases }));
        }
    }
    ways.push(Way { donors: donors.to_vec(), cases: freely });
    Ok(ways)
}

/// A request in sums.
struct Sums<'a> {
    request: &'a Request,
    donors: &'a [DonorLink],
    total: u64,
    pinned: u64,
    /// What must live elsewhere, and the largest unit of it.
    away: u64,
    largest_away: Option<Bytes>,
}

/// Returns the cases that meet the request: one, or for slots that count one for each size of the largest streamed unit.
fn cases(request: &Request, donors: &[DonorLink]) -> Result<Vec<Case>, Shortage> {
    let sum = |wanted: &dyn Fn(&UnitCost) -> bool| request.units.iter().filter(|u| wanted(u)).map(|u| u.bytes).sum::<Bytes>().get();
    let is_away = |u: &UnitCost| matches!(u.stay, Stay::At(_));
    let sums = Sums {
        request,
        donors,
        total: sum(&|_| true),
        pinned: sum(&|u| u.stay == Stay::Pinned),
        away: sum(&is_away),
        largest_away: request.units.iter().filter(|u| is_away(u)).map(|u| u.bytes).max(),
    };
    if sums.largest_away.is_some_and(|bytes| !request.staging.passes(bytes)) {
        return Err(sums.ring());
    }
    match &request.goal {
        Goal::Free(bytes) => sums.one(bytes.get().min(sums.total - sums.pinned).saturating_sub(sums.away)),
        Goal::Hold(bytes) => sums.hold(bytes.get()),
        Goal::Quotas { by_device: _, rest } if *rest == Some(request.compute) => Ok(vec![sums.fullest()]),
        Goal::Quotas { by_device, rest: _ } => {
            let most = quota(by_device, request.compute).map_or(sums.pinned, Bytes::get);
            sums.pinned_fits(most)?;
            sums.one(sums.total.saturating_sub(most).saturating_sub(sums.away))
        }
    }
}

impl Sums<'_> {
    fn compute(&self) -> DeviceId {
        self.request.compute
    }

    fn pinned_fits(&self, most: u64) -> Result<(), Shortage> {
        let missing = Bytes(self.pinned.saturating_sub(most));
        if missing == Bytes::ZERO { Ok(()) } else { Err(Shortage::Pinned { device: self.compute(), missing }) }
    }

    fn fixed(&self, unit: &UnitCost) -> Option<usize> {
        match unit.stay {
            Stay::At(device) => self.donors.iter().position(|d| d.device == device),
            Stay::Pinned | Stay::Movable => None,
        }
    }

    fn may_leave(&self, unit: &UnitCost) -> bool {
        unit.stay == Stay::Movable && self.request.staging.passes(unit.bytes)
    }

    /// Returns the case in which `need` bytes leave, all of them units of at most `largest`.
    fn case(&self, need: u64, largest: u64) -> Case {
        let units = &self.request.units;
        let mut as_listed: Vec<usize> = (0..self.donors.len()).collect();
        as_listed.sort_by_key(|&k| self.request.donors.iter().position(|d| d.device == self.donors[k].device));
        let mut by_name: Vec<Option<usize>> = std::iter::once(None).chain((0..self.donors.len()).map(Some)).collect();
        by_name.sort_by_cached_key(|seat| {
            let device = seat.map_or(self.compute(), |k| self.donors[k].device);
            (device == DeviceId::Cpu, device.to_string())
        });
        Case {
            bytes: units.iter().map(|u| u.bytes.get()).collect(),
            stored: units.iter().map(|u| u.stored.get()).collect(),
            seconds: units.iter().map(seconds).collect(),
            fixed: units.iter().map(|u| self.fixed(u)).collect(),
            movable: (0..units.len()).filter(|&i| self.may_leave(&units[i]) && units[i].bytes.get() <= largest).collect(),
            need,
            caps: self.donors.iter().map(|d| d.capacity.get()).collect(),
            links: self.donors.iter().map(link).collect(),
            staging: self.request.staging,
            by_name,
            as_listed,
            known: None,
        }
    }

    fn one(&self, need: u64) -> Result<Vec<Case>, Shortage> {
        // Where nothing more must leave, nothing more does.
        let case = self.case(need, if need == 0 { 0 } else { u64::MAX });
        if case.movable_bytes() < need {
            return Err(self.ring());
        }
        self.donors_hold(&case)?;
        Ok(vec![case])
    }

    fn donors_hold(&self, case: &Case) -> Result<(), Shortage> {
        let missing = Bytes(case.least_stored().saturating_sub(case.room()));
        match self.donors.last() {
            Some(_) | None if missing == Bytes::ZERO => Ok(()),
            Some(last) => Err(Shortage::Donors { device: last.device, missing }),
            None => Err(Shortage::NoDonor { device: self.compute(), missing }),
        }
    }

    /// Returns the shortage of a ring that the largest unit does not pass.
    fn ring(&self) -> Shortage {
        let size = self.request.staging.bytes(Some(Bytes::ZERO));
        let movable = (0u32..).zip(&self.request.units).filter(|(_, u)| u.stay != Stay::Pinned);
        let largest = movable.max_by_key(|(i, u)| (u.bytes, Reverse(*i)));
        let (block, bytes) = largest.map_or((0, Bytes::ZERO), |(i, u)| (i, u.bytes));
        Shortage::Ring { device: self.compute(), block: BlockIndex(block), missing: bytes - size }
    }

    /// Returns the case in which the donors take all that they can: the largest even set that they have room for, with what else fits
    /// beside it, or the largest units that do, where those are more.
    fn fullest(&self) -> Case {
        let mut case = self.case(0, u64::MAX);
        let n = case.movable.len();
        let homes = |set: &[usize]| if case.stored_bytes(set) <= case.room() { spread(&case, set) } else { None };
        let sets = (1..=n).rev().map(|m| even(n, m).map(|k| case.movable[k]).collect::<Vec<_>>());
        let even = sets.into_iter().find(|set| homes(set).is_some()).unwrap_or_default();
        let mut falling = case.movable.clone();
        falling.sort_by_key(|&unit| Reverse(case.stored[unit]));
        let filled = |mut set: Vec<usize>| {
            for &unit in &falling {
                let mut more = set.clone();
                if let Err(place) = more.binary_search(&unit) {
                    more.insert(place, unit);
                    set = if homes(&more).is_some() { more } else { set };
                }
            }
            set
        };
        let bytes_of = |set: &Vec<usize>| set.iter().map(|&i| case.bytes[i]).sum::<u64>();
        let (even, largest) = (filled(even), filled(Vec::new()));
        let most = if bytes_of(&largest) > bytes_of(&even) { largest } else { even };
        (case.need, case.known) = (bytes_of(&most), homes(&most));
        case
    }

    fn hold(&self, most: u64) -> Result<Vec<Case>, Shortage> {
        self.pinned_fits(most)?;
        // What must leave passes through, whatever else stays.
        let here = self.total - self.away;
        let least = self.request.staging.bytes(self.largest_away).get();
        if here.saturating_add(least) <= most {
            return Ok(vec![self.case(0, self.largest_away.map_or(0, Bytes::get))]);
        }
        let mut sizes: Vec<u64> = self.request.units.iter().filter(|u| self.may_leave(u)).map(|u| u.bytes.get()).collect();
        sizes.sort_unstable_by_key(|s| Reverse(*s));
        sizes.dedup();
        if matches!(self.request.staging, Staging::Ring(_) | Staging::Flowing(_)) {
            sizes.truncate(1);
        }
        let mut shortage = sizes.is_empty().then(|| {
            let missing = Bytes(here.saturating_add(least).saturating_sub(most));
            Shortage::Staging { device: self.compute(), missing }
        });
        let mut cases = Vec::new();
        for size in sizes {
            let staging = self.request.staging.bytes(Some(Bytes(size)).max(self.largest_away)).get();
            let case = self.case(here.saturating_add(staging).saturating_sub(most), size);
            let lacking = case.need.saturating_sub(case.movable_bytes());
            let found = if lacking > 0 {
                Err(Shortage::Staging { device: self.compute(), missing: Bytes(lacking) })
            } else {
                self.donors_hold(&case).map(|()| case)
            };
            match found {
                Ok(case) => cases.push(case),
                Err(new) if shortage.as_ref().is_none_or(|old: &Shortage| new.missing() < old.missing()) => shortage = Some(new),
                Err(_) => {}
            }
        }
        if cases.is_empty() { Err(shortage.unwrap_or_else(|| self.ring())) } else { Ok(cases) }
    }
}

/// Returns the cases that get the whole portfolio, evenly chosen, the one with the largest units first.
pub(super) fn few(cases: &[Case]) -> impl Iterator<Item = &Case> {
    let n = cases.len();
    (0..n.min(FEW)).map(move |j| &cases[j * n / n.min(FEW)])
}

/// Returns the shortage of a request whose sums fit and whose blocks do not.
pub(super) fn in_pieces(request: &Request, donors: &[DonorLink], cases: &[Case]) -> Shortage {
    let missing = Bytes(cases.iter().map(|c| c.need).min().unwrap_or_default());
    Shortage::Pieces { device: donors.last().map_or(request.compute, |d| d.device), missing }
}
