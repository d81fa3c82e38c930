//! Which units go away together, and which donor takes which of them. Exact sums, no time.

use super::budget::AsStored;
use super::case::{Case, Homes};
use crate::units::Bytes;

/// Placements that the last search looks at before it gives up.
const SEARCH_LIMIT: u32 = 50_000;

/// Returns `m` of `n` places, as evenly as whole numbers allow.
pub(super) fn even(n: usize, m: usize) -> impl Iterator<Item = usize> {
    (0..m).map(move |j| ((2 * j + 1) * n) / (2 * m))
}

/// Returns evenly spread places whose sizes reach `need`, none more than it takes, or `None` where all together do not.
pub(super) fn even_cover(sizes: &[u64], need: u64) -> Option<Vec<usize>> {
    let total: u64 = sizes.iter().sum();
    if need == 0 {
        return Some(Vec::new());
    }
    if total < need {
        return None;
    }
    let n = sizes.len();
    let reaches = |m: usize| even(n, m).map(|i| sizes[i]).sum::<u64>() >= need;
    let guess = u128::from(need) * n as u128 / u128::from(total);
    let mut m = usize::try_from(guess).unwrap_or(n).clamp(1, n);
    while m < n && !reaches(m) {
        m += 1;
    }
    while m > 1 && reaches(m - 1) {
        m -= 1;
    }
    Some(even(n, m).collect())
}

/// Returns homes for `streamed`, in order of execution: the fastest donor takes what it can hold, and what it
/// leaves to the next is spread evenly. Where that wastes too much room, the largest units choose first.
pub(super) fn spread(case: &Case, streamed: &[usize]) -> Option<Homes> {
    let mut homes = case.fixed.clone();
    let mut rest = streamed.to_vec();
    for (donor, cap) in case.caps.iter().enumerate() {
        if rest.is_empty() {
            break;
        }
        let sizes: Vec<u64> = rest.iter().map(|&i| case.stored[i]).collect();
        let total: u64 = sizes.iter().sum();
        let over = even_cover(&sizes, total.saturating_sub(*cap)).unwrap_or_default();
        let mut room = cap - (total - over.iter().map(|&k| sizes[k]).sum::<u64>());
        let mut passed_on = over.into_iter().peekable();
        let mut next = Vec::new();
        for (k, &unit) in rest.iter().enumerate() {
            let passes = passed_on.next_if_eq(&k).is_some();
            if passes && sizes[k] > room {
                next.push(unit);
            } else {
                room -= if passes { sizes[k] } else { 0 };
                homes[unit] = Some(donor);
            }
        }
        rest = next;
    }
    if rest.is_empty() { Some(homes) } else { largest_first(case, streamed) }
}

fn largest_first(case: &Case, streamed: &[usize]) -> Option<Homes> {
    let mut order = streamed.to_vec();
    order.sort_by_key(|&i| std::cmp::Reverse(case.stored[i]));
    let mut homes = case.fixed.clone();
    let mut room = case.caps.clone();
    for unit in order {
        let donor = room.iter().position(|r| *r >= case.stored[unit])?;
        room[donor] -= case.stored[unit];
        homes[unit] = Some(donor);
    }
    Some(homes)
}

/// Returns any homes that keep every budget, where the good ones do not: first fits in several orders, then a
/// bounded search. `None` from a model of few units is proof that there are none.
pub(super) fn rescue(case: &Case) -> Option<Homes> {
    let mut falling = case.movable.clone();
    falling.sort_by_key(|&i| std::cmp::Reverse(case.bytes[i]));
    let rising: Vec<usize> = falling.iter().rev().copied().collect();
    let forth = case.movable.clone();
    let back: Vec<usize> = forth.iter().rev().copied().collect();
    [&falling, &rising, &forth, &back].into_iter().find_map(|order| first_fit(case, order)).or_else(|| Search::new(case, &falling).run())
}

fn first_fit(case: &Case, order: &[usize]) -> Option<Homes> {
    let mut homes = case.fixed.clone();
    let mut room = case.caps.clone();
    let mut gone = 0;
    for &unit in order {
        if gone >= case.need {
            break;
        }
        if let Some(donor) = room.iter().position(|r| *r >= case.stored[unit]) {
            room[donor] -= case.stored[unit];
            gone += case.bytes[unit];
            homes[unit] = Some(donor);
        }
    }
    (gone >= case.need).then_some(homes)
}

/// Depth first, the largest unit first; each goes to a donor or stays.
struct Search<'a> {
    case: &'a Case,
    order: &'a [usize],
    /// What the units from each place of `order` on add up to.
    after: Vec<u64>,
    /// No unit takes less of a donor for its size.
    densest: AsStored,
    room: Vec<u64>,
    homes: Homes,
    looked: u32,
}

impl<'a> Search<'a> {
    fn new(case: &'a Case, order: &'a [usize]) -> Self {
        let mut after = vec![0; order.len() + 1];
        for (k, &unit) in order.iter().enumerate().rev() {
            after[k] = after[k + 1] + case.bytes[unit];
        }
        Self { case, order, after, densest: case.densest(), room: case.caps.clone(), homes: case.fixed.clone(), looked: 0 }
    }

    fn run(mut self) -> Option<Homes> {
        self.descend(0, self.case.need).then_some(self.homes)
    }

    fn descend(&mut self, k: usize, need: u64) -> bool {
        if need == 0 {
            return true;
        }
        self.looked += 1;
        let room: u64 = self.room.iter().fold(0, |sum, r| sum.saturating_add(*r));
        let AsStored { computed: Bytes(computed), stored: Bytes(stored) } = self.densest;
        let is_too_little = u128::from(room) * u128::from(computed) < u128::from(need) * u128::from(stored);
        if self.looked > SEARCH_LIMIT || self.after[k] < need || is_too_little {
            return false;
        }
        let unit = self.order[k];
        let (size, stored) = (self.case.bytes[unit], self.case.stored[unit]);
        for donor in 0..self.room.len() {
            let room = self.room[donor];
            if room < stored || self.room[..donor].contains(&room) {
                continue;
            }
            self.room[donor] -= stored;
            self.homes[unit] = Some(donor);
            if self.descend(k + 1, need.saturating_sub(size)) {
                return true;
            }
            self.room[donor] = room;
            self.homes[unit] = None;
        }
        self.descend(k + 1, need)
    }
}
