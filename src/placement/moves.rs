//! Small changes of a placement, one after another, that make it faster.
//!
//! They are drawn from fixed dice: the same case, the same plan. Changes that cost nothing are walked
//! along, but only a strictly faster placement is returned instead of the one given.

use super::case::{Case, Homes};
use super::portfolio::{Scored, TIE};

/// Moves that are tried.
const MOVES: u32 = 400;

/// Out of ten moves, so many exchange the homes of two units; the others give one unit a new home.
const SWAPS_IN_TEN: usize = 7;

/// Returns `from`, or a placement near it that is strictly faster.
pub(super) fn improve(case: &Case, from: Scored) -> Scored {
    let bound_s = case.bound_s() * (1.0 + TIE);
    if case.movable.is_empty() || from.step_s <= bound_s {
        return from;
    }
    let mut pipeline = case.pipeline();
    let mut walk = Walk::new(case, from.homes.clone());
    let (mut dice, mut now_s, mut best) = (Dice(0x9e37_79b9_7f4a_7c15), from.step_s, from);
    for _ in 0..MOVES {
        let Some(back) = walk.draw(&mut dice).and_then(|m| walk.apply(m)) else { continue };
        let step_s = pipeline.step_s(&walk.homes, now_s, None);
        if step_s > now_s {
            walk.apply(back);
            continue;
        }
        now_s = step_s;
        if now_s < best.step_s * (1.0 - TIE) {
            best = Scored { homes: walk.homes.clone(), step_s };
        }
        if best.step_s <= bound_s {
            break;
        }
    }
    best
}

/// One change.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Two units exchange their homes.
    Swap(usize, usize),
    /// A unit gets a new home.
    Shift(usize, Option<usize>),
}

/// A placement under way.
struct Walk<'a> {
    case: &'a Case,
    homes: Homes,
    /// Room left on each donor, and last what more may stay.
    room: Vec<u64>,
}

impl<'a> Walk<'a> {
    fn new(case: &'a Case, homes: Homes) -> Self {
        let mut room = case.caps.clone();
        room.push(case.stay());
        for &unit in &case.movable {
            let seat = homes[unit].unwrap_or(case.caps.len());
            room[seat] = room[seat].saturating_sub(taken(case, seat, unit));
        }
        Self { case, homes, room }
    }

    fn draw(&self, dice: &mut Dice) -> Option<Move> {
        let movable = &self.case.movable;
        let a = movable[dice.below(movable.len())];
        let other = |home: &Option<usize>| *home != self.homes[a];
        if dice.below(10) < SWAPS_IN_TEN {
            let first = dice.below(movable.len());
            let partner = movable[first..].iter().chain(&movable[..first]).find(|&&b| other(&self.homes[b]));
            return partner.map(|&b| Move::Swap(a, b));
        }
        let seat = dice.below(self.case.caps.len() + 1);
        Some((seat < self.case.caps.len()).then_some(seat)).filter(other).map(|home| Move::Shift(a, home))
    }

    /// Makes a move and returns the one that takes it back, or `None` where a budget forbids it.
    fn apply(&mut self, change: Move) -> Option<Move> {
        let seat = |home: Option<usize>| home.unwrap_or(self.case.caps.len());
        let (a, other, to, back) = match change {
            Move::Swap(a, b) => (a, Some(b), seat(self.homes[b]), change),
            Move::Shift(a, home) => (a, None, seat(home), Move::Shift(a, self.homes[a])),
        };
        let from = seat(self.homes[a]);
        let taken = |seat: usize, unit: Option<usize>| unit.map_or(0, |unit| taken(self.case, seat, unit));
        let left = (self.room[from].saturating_add(taken(from, Some(a)))).checked_sub(taken(from, other))?;
        let left_there = (self.room[to].saturating_add(taken(to, other))).checked_sub(taken(to, Some(a)))?;
        (self.room[from], self.room[to]) = (left, left_there);
        match change {
            Move::Swap(a, b) => self.homes.swap(a, b),
            Move::Shift(a, home) => self.homes[a] = home,
        }
        Some(back)
    }
}

/// What a unit takes at a place: a donor holds it as it is stored.
fn taken(case: &Case, seat: usize, unit: usize) -> u64 {
    if seat == case.caps.len() { case.bytes[unit] } else { case.stored[unit] }
}

/// Dice that fall the same way every time: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * n as u64) >> 32) as usize
    }
}
