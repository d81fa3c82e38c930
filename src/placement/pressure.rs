//! Memory of the device that computes becomes short, or there is plenty again: how much weights give back, and which.
//!
//! Nothing here reads a clock or a device: whoever runs steps looks at both between two of them, and asks.
//!
//! ```text
//!            free < margin: shrink, back to the margin
//!   margin ────────────────────────────────────────────── nothing happens
//!   plenty ──────────────────────────────────────────────
//!            free > plenty for 10 s: grow, down to plenty and no further
//! ```
//!
//! Plenty is twice the margin, or less where the margin is large, so that weights return to any device. What growing leaves free
//! is no less than what shrinking wants: a device on which nothing else happens comes to rest.

use std::time::Duration;

use crate::units::{BlockIndex, Bytes};

/// How long there must be plenty until weights come back: what took the memory may only draw breath.
pub const CALM: Duration = Duration::from_secs(10);

/// The most that is left free beyond the margin when weights come back: what others take and give back all the time is less.
const SURPLUS: Bytes = Bytes::gib(1);

/// Of what is not to stay free of a device, this part at most is left beside the margin: a quarter.
const SURPLUS_AT_MOST: u64 = 4;

/// What memory that ran out is multiplied by, in percent: the allocator rounds, and what follows needs some, too.
const OVER_PERCENT: u64 = 110;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// So much must be given back.
    Shrink(Bytes),
    /// So much may be taken.
    Grow(Bytes),
}

/// What was seen of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    margin: Bytes,
    surplus: Bytes,
    calm_since: Option<Duration>,
}

impl Pressure {
    /// Returns the pressure on a device of which `margin` bytes are to stay free.
    #[must_use]
    pub fn new(margin: Bytes) -> Self {
        Self { margin, surplus: margin.min(SURPLUS), calm_since: None }
    }

    /// Returns the same on a device of this size: weights come back also where the margin is most of it.
    #[must_use]
    pub fn within(self, total: Bytes) -> Self {
        let others = total.saturating_sub(self.margin);
        Self { surplus: self.surplus.min(Bytes(others.get() / SURPLUS_AT_MOST)), ..self }
    }

    /// Takes in how much is free at a moment, counted from any other, and says what is to be done.
    pub fn look(&mut self, free: Bytes, now: Duration) -> Verdict {
        let plenty = self.margin + self.surplus;
        if free <= plenty {
            self.calm_since = None;
            return if free < self.margin { Verdict::Shrink(self.margin - free) } else { Verdict::Keep };
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_sub(since) < CALM {
            return Verdict::Keep;
        }
        // What grows is watched for as long again before more does.
        self.calm_since = Some(now);
        Verdict::Grow(free - plenty)
    }

    /// Returns what is to stay free.
    #[must_use]
    pub fn margin(&self) -> Bytes {
        self.margin
    }

    /// Hears that memory was given back, or taken, for another reason: calm begins anew.
    pub fn disturb(&mut self) {
        self.calm_since = None;
    }
}

/// Returns how much is to be given back after `failed` bytes could not be had: some more than that, or the margin where
/// nobody knows how much it was.
#[must_use]
pub fn after_failure(failed: Option<Bytes>, margin: Bytes) -> Bytes {
    let over = |bytes: Bytes| Bytes(bytes.get() / 100 * OVER_PERCENT + bytes.get() % 100 * OVER_PERCENT / 100);
    failed.map_or(margin, over)
}

/// A block, and what it means for the memory of the device that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The block.
    pub block: BlockIndex,
    /// What is free again when it lives elsewhere.
    pub frees: Bytes,
    /// What it takes of staging memory then.
    pub passes: Bytes,
    /// Whether it lives elsewhere already.
    pub is_streamed: bool,
    /// Whether the operator wants it to stay.
    pub is_pinned: bool,
}

/// Returns blocks that give at least `need` bytes back when they live elsewhere, in the order in which they go; all that give
/// anything where that is less. `pieces` are all blocks in order of execution, and `staging` is what one block at most finds
/// of staging memory now: what a larger one needs more is not given back.
///
/// Each block goes that is farthest from those that live elsewhere: equal distances hide copies best. Among equals it is the one
/// that frees most. A block that is to stay goes only where all others that give anything are gone.
#[must_use]
pub fn victims(pieces: &[Piece], staging: Bytes, need: Bytes) -> Vec<BlockIndex> {
    let mut gone: Vec<bool> = pieces.iter().map(|p| p.is_streamed).collect();
    let (mut chosen, mut freed, mut passing) = (Vec::new(), Bytes::ZERO, staging);
    while freed.saturating_sub(passing - staging) < need {
        // What frees less than the staging memory grows by helps only where others have made it grow.
        let helps = |p: &Piece| p.frees > p.passes.saturating_sub(passing);
        let open = |&at: &usize| !gone[at] && pieces[at].frees > Bytes::ZERO;
        let key = |&at: &usize| (!pieces[at].is_pinned, helps(&pieces[at]), distance(&gone, at), pieces[at].frees, std::cmp::Reverse(at));
        let Some(next) = (0..pieces.len()).filter(open).max_by_key(key) else { break };
        gone[next] = true;
        freed += pieces[next].frees;
        passing = passing.max(pieces[next].passes);
        chosen.push(pieces[next].block);
    }
    // Where staging memory would take all that is given back, nothing is gained.
    if freed > passing - staging { chosen } else { Vec::new() }
}

/// Returns how many blocks lie between this one and the nearest that lives elsewhere. Behind the last comes the first again.
fn distance(gone: &[bool], at: usize) -> usize {
    let n = gone.len();
    (1..=n / 2).find(|d| gone[(at + d) % n] || gone[(at + n - d) % n]).unwrap_or(n)
}

/// Returns those of the blocks that were given up which come back where `room` bytes may be taken: what went last first, as
/// many as there is room for.
#[must_use]
pub fn returning(given_up: &[(BlockIndex, Bytes)], room: Bytes) -> Vec<BlockIndex> {
    let mut left = room;
    let mut coming = Vec::new();
    for (block, bytes) in given_up.iter().rev() {
        if *bytes <= left {
            left = left - *bytes;
            coming.push(*block);
        }
    }
    coming
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARGIN: Bytes = Bytes(100);

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn what_is_missing_to_the_margin_is_given_back_at_once() {
        let mut pressure = Pressure::new(MARGIN);
        let seen: Vec<Verdict> = [300, 100, 99, 0, 150].into_iter().map(|free| pressure.look(Bytes(free), seconds(0))).collect();
        let keep = Verdict::Keep;
        assert_eq!(seen, [keep, keep, Verdict::Shrink(Bytes(1)), Verdict::Shrink(Bytes(100)), keep]);
    }

    #[test]
    fn weights_come_back_only_after_a_while_of_plenty() {
        let mut pressure = Pressure::new(MARGIN);
        let mut look = |free: u64, at: u64| pressure.look(Bytes(free), seconds(at));
        assert_eq!(look(500, 0), Verdict::Keep);
        assert_eq!(look(500, 9), Verdict::Keep);
        assert_eq!(look(200, 9), Verdict::Keep, "no longer plenty");
        assert_eq!(look(500, 12), Verdict::Keep);
        assert_eq!(look(260, 22), Verdict::Grow(Bytes(60)));
        assert_eq!(look(500, 23), Verdict::Keep, "one thing at a time");
        assert_eq!(look(500, 32), Verdict::Grow(Bytes(300)));
        pressure.disturb();
        assert_eq!(pressure.look(Bytes(500), seconds(33)), Verdict::Keep);
    }

    /// Ten seconds and more after this much is free: what may come back.
    fn grown(pressure: Pressure, free: Bytes) -> Option<Bytes> {
        let mut pressure = pressure;
        pressure.look(free, seconds(0));
        if let Verdict::Grow(room) = pressure.look(free, seconds(10)) { Some(room) } else { None }
    }

    #[test]
    fn weights_come_back_also_where_half_of_the_device_and_more_is_to_stay_free() {
        let large = Pressure::new(Bytes::gib(14));
        assert_eq!(grown(large, Bytes::gib(15)), None, "others only draw breath");
        assert_eq!(grown(large, Bytes::gib(17)), Some(Bytes::gib(2)));
        assert_eq!(grown(large.within(Bytes::gib(24)), Bytes::gib(17)), Some(Bytes::gib(2)));
        // On a small device the surplus is small, too.
        let small = Pressure::new(Bytes::mib(40));
        assert_eq!(grown(small, Bytes::mib(60)), None);
        assert_eq!(grown(small.within(Bytes::mib(64)), Bytes::mib(60)), Some(Bytes::mib(14)));
        assert_eq!(grown(Pressure::new(Bytes::mib(64)).within(Bytes::mib(64)), Bytes::mib(64)), None, "all of it is to stay free");
    }

    #[test]
    fn a_small_margin_is_left_twice() {
        for pressure in [Pressure::new(Bytes::mib(700)), Pressure::new(Bytes::mib(700)).within(Bytes::gib(24))] {
            assert_eq!(grown(pressure, Bytes::mib(1400)), None);
            assert_eq!(grown(pressure, Bytes::mib(1401)), Some(Bytes::mib(1)));
        }
    }

    #[test]
    fn a_failure_asks_for_a_tenth_more_than_what_failed() {
        assert_eq!(after_failure(Some(Bytes(1000)), MARGIN), Bytes(1100));
        assert_eq!(after_failure(Some(Bytes(19)), MARGIN), Bytes(20));
        assert_eq!(after_failure(Some(Bytes(u64::MAX / 2)), MARGIN), Bytes(u64::MAX / 2 / 100 * 110 + u64::MAX / 2 % 100 * 110 / 100));
        assert_eq!(after_failure(None, MARGIN), MARGIN);
    }

    /// Blocks that free what they take, the first pinned.
    fn equal(n: u32, streamed: &[u32]) -> Vec<Piece> {
        let piece = |block: u32| Piece {
            block: BlockIndex(block),
            frees: if block == 0 { Bytes::ZERO } else { Bytes(10) },
            passes: Bytes(10),
            is_streamed: streamed.contains(&block),
            is_pinned: false,
        };
        (0..n).map(piece).collect()
    }

    fn chosen(pieces: &[Piece], staging: u64, need: u64) -> Vec<u32> {
        victims(pieces, Bytes(staging), Bytes(need)).into_iter().map(|b| b.0).collect()
    }

    #[test]
    fn blocks_go_at_equal_distances() {
        assert_eq!(chosen(&equal(9, &[]), 10, 10), [1]);
        assert_eq!(chosen(&equal(9, &[1]), 10, 11), [5, 3]);
        assert_eq!(chosen(&equal(9, &[1, 5]), 10, 20), [3, 7]);
        assert_eq!(chosen(&equal(9, &[1, 5]), 10, 0), [0u32; 0]);
        assert_eq!(chosen(&equal(3, &[1]), 10, 999), [2], "all that there are, and never the head");
    }

    #[test]
    fn what_staging_takes_is_not_given_back() {
        // Without staging memory one block gives nothing: it only changes its place.
        assert_eq!(chosen(&equal(9, &[]), 0, 10).len(), 2);
        assert_eq!(chosen(&equal(2, &[]), 0, 10), [0u32; 0], "nothing would be gained");
        // A block that passes through what is there goes before one for which more would be needed.
        let mut pieces = equal(9, &[4]);
        pieces[8].passes = Bytes(30);
        assert_eq!(chosen(&pieces, 10, 10), [1]);
    }

    #[test]
    fn what_is_to_stay_goes_last() {
        let mut pieces = equal(5, &[]);
        pieces[1].is_pinned = true;
        pieces[2].is_pinned = true;
        assert_eq!(chosen(&pieces, 10, 20), [3, 4]);
        assert_eq!(chosen(&pieces, 10, 21), [3, 4, 1], "where no other has any left");
    }

    #[test]
    fn what_went_last_comes_back_first_as_far_as_there_is_room() {
        let given_up: Vec<(BlockIndex, Bytes)> = [(1, 10), (2, 30), (3, 20)].map(|(b, n)| (BlockIndex(b), Bytes(n))).to_vec();
        let check = |room: u64, expected: &[u32]| {
            assert_eq!(returning(&given_up, Bytes(room)).iter().map(|b| b.0).collect::<Vec<_>>(), expected, "{room}");
        };
        check(9, &[]);
        check(20, &[3]);
        check(30, &[3, 1]);
        check(60, &[3, 2, 1]);
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let one = (0..50u64, 1..50u64, any::<bool>(), any::<bool>());
        prop::collection::vec(one, 1..40).prop_map(|all| {
            let piece = |(n, (frees, passes, is_streamed, is_pinned)): (u32, (u64, u64, bool, bool))| Piece {
                block: BlockIndex(n),
                frees: if n == 0 || is_streamed { Bytes::ZERO } else { Bytes(frees) },
                passes: Bytes(passes),
                is_streamed: is_streamed && n > 0,
                is_pinned,
            };
            (0..).zip(all).map(piece).collect()
        })
    }

    proptest! {
        /// Enough is given back, or all that there is; nobody goes twice, and nobody who gives nothing.
        #[test]
        fn enough_goes_or_everything(pieces in pieces(), need in 0..1500u64) {
            let staging = pieces.iter().filter(|p| p.is_streamed).map(|p| p.passes).max().unwrap_or(Bytes::ZERO);
            let victims = victims(&pieces, staging, Bytes(need));
            let of = |block: &BlockIndex| pieces[block.0 as usize];
            prop_assert!(victims.iter().all(|b| !of(b).is_streamed && of(b).frees > Bytes::ZERO));
            let mut once = victims.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), victims.len());
            let is_open = |p: &&Piece| !p.is_streamed && p.frees > Bytes::ZERO && !p.is_pinned;
            let gave_way = victims.iter().any(|b| of(b).is_pinned);
            prop_assert!(!gave_way || pieces.iter().filter(is_open).all(|p| victims.contains(&p.block)), "a pin gave way before others");
            let freed: Bytes = victims.iter().map(|b| of(b).frees).sum();
            let passing = victims.iter().map(|b| of(b).passes).max().unwrap_or(Bytes::ZERO).max(staging);
            let candidates = pieces.iter().filter(|p| p.frees > Bytes::ZERO && !p.is_streamed).count();
            let net = freed.saturating_sub(passing - staging);
            prop_assert!(need == 0 || victims.is_empty() || net >= Bytes(need) || victims.len() == candidates);
            prop_assert!(victims.is_empty() || net > Bytes::ZERO);
        }

        /// Whatever is to stay free of a device, weights come back before all of it is free, and leave what is to stay free.
        #[test]
        fn there_is_plenty_on_every_device(total in 8..u64::MAX, margin in any::<u64>()) {
            let margin = margin % (total - 4);
            let pressure = Pressure::new(Bytes(margin)).within(Bytes(total));
            let room = grown(pressure, Bytes(total));
            prop_assert!(room.is_some_and(|room| room.get() >= (total - margin) / 4 * 3 && room.get() <= total - margin), "{room:?}");
        }

        /// Whatever another process does, a device on which nothing more happens comes to rest: neither shrinks nor grows.
        #[test]
        fn what_is_left_alone_comes_to_rest(
            blocks in prop::collection::vec(1..60u64, 1..20),
            trace in prop::collection::vec(0..2000u64, 0..40),
            last in 0..2000u64,
            margin in prop_oneof![Just(MARGIN), (0..=2000u64).prop_map(Bytes)],
        ) {
            let total: u64 = 2000;
            let mut pressure = Pressure::new(margin).within(Bytes(total));
            let mut given_up: Vec<(BlockIndex, Bytes)> = Vec::new();
            let mut quiet = 0;
            let steps = trace.iter().copied().chain(std::iter::repeat_n(last, 200));
            for (at, others) in (0..).zip(steps) {
                let here: u64 = (0..).zip(&blocks).filter(|(b, _)| !given_up.iter().any(|(g, _)| g.0 == *b)).map(|(_, n)| n).sum();
                let free = Bytes(total.saturating_sub(others + here));
                let before = given_up.len();
                match pressure.look(free, seconds(at)) {
                    Verdict::Keep => {}
                    Verdict::Shrink(need) => {
                        let pieces: Vec<Piece> = (0..).zip(&blocks).map(|(b, n)| Piece {
                            block: BlockIndex(b),
                            frees: Bytes(*n),
                            passes: Bytes(*n),
                            is_streamed: given_up.iter().any(|(g, _)| g.0 == b),
                            is_pinned: false,
                        }).collect();
                        // Staging memory is there, for the largest.
                        let victims = victims(&pieces, Bytes(60), need);
                        given_up.extend(victims.iter().map(|b| (*b, Bytes(blocks[b.0 as usize]))));
                    }
                    Verdict::Grow(room) => {
                        let coming = returning(&given_up, room);
                        given_up.retain(|(b, _)| !coming.contains(b));
                    }
                }
                quiet = if given_up.len() == before { quiet + 1 } else { 0 };
            }
            prop_assert!(quiet > 20, "it still moves");
        }
    }
}
