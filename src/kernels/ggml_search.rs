//! The searches of `quant::ggml_fit` for as many sub-blocks as there are lanes.
//!
//! Each function does per lane exactly what the one of the same name there does: the same operations in the same order.
//! Where that one leaves a loop early, lanes that are done are masked.

#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use super::ggml_lanes::{Column, Lanes, MOST};
use crate::quant::ggml_fit::{Miss, Search, ZERO_BELOW, low_byte};

/// The levels of one sign of the symmetric search.
const THIRTY_TWO: i32 = 32;

/// Sub-blocks side by side, and what was found for each.
pub(super) struct Batch<const SIZE: usize> {
    /// The numbers, sub-blocks in columns.
    pub(super) x: [Column; SIZE],
    /// What they weigh.
    pub(super) weights: [Column; SIZE],
    /// The scales.
    pub(super) scales: Column,
    /// The minima, their signs turned.
    pub(super) minima: Column,
    levels: [Column; SIZE],
}

impl<const SIZE: usize> Batch<SIZE> {
    pub(super) fn new() -> Self {
        let zeros = [[0.0; MOST]; SIZE];
        Self { x: zeros, weights: zeros, scales: [0.0; MOST], minima: [0.0; MOST], levels: zeros }
    }

    /// Takes the sub-blocks that follow one another in `values`.
    #[inline(always)]
    pub(super) fn take(&mut self, values: &[f32]) {
        for (lane, sub) in values.chunks_exact(SIZE).enumerate().take(MOST) {
            for (column, v) in self.x.iter_mut().zip(sub) {
                column[lane] = *v;
            }
        }
    }

    /// Writes the levels of the sub-block in this lane.
    #[inline(always)]
    pub(super) fn levels(&self, lane: usize, out: &mut [u8]) {
        out.iter_mut().zip(&self.levels).for_each(|(out, column)| *out = low_byte(column[lane] as i32));
    }

    /// Has each number weigh its magnitude.
    #[inline(always)]
    pub(super) fn weigh_magnitudes<L: Lanes>(&mut self) {
        for (w, x) in self.weights.iter_mut().zip(&self.x) {
            L::store(L::abs(L::load(x)), w);
        }
    }

    /// Has each number weigh its magnitude above the root of its sub-block's mean square.
    #[inline(always)]
    pub(super) fn weigh_above_root_mean_square<L: Lanes>(&mut self) {
        let mut squares = L::splat(0.0);
        for x in &self.x {
            let x = L::load(x);
            squares = L::add(squares, L::mul(x, x));
        }
        let root = L::sqrt(L::div(squares, L::splat(SIZE as f32)));
        for (w, x) in self.weights.iter_mut().zip(&self.x) {
            L::store(L::add(root, L::abs(L::load(x))), w);
        }
    }

    #[inline(always)]
    fn missed<L: Lanes>(&self, search: &Search, levels: &[Column; SIZE], scale: L::Floats, min: L::Floats) -> L::Floats {
        let mut sum = L::splat(0.0);
        for ((x, w), l) in self.x.iter().zip(&self.weights).zip(levels) {
            let away = L::sub(L::add(L::mul(scale, L::load(l)), min), L::load(x));
            let miss = match search.miss {
                Miss::Distance => L::abs(away),
                Miss::Square => L::mul(away, away),
            };
            sum = L::add(sum, L::mul(L::load(w), miss));
        }
        sum
    }

    /// `quant::ggml_fit::affine`.
    #[inline(always)]
    pub(super) fn affine<L: Lanes>(&mut self, search: &Search) {
        let zero = L::splat(0.0);
        let (mut min, mut max) = (L::load(&self.x[0]), L::load(&self.x[0]));
        let mut sum_w = L::load(&self.weights[0]);
        let mut sum_x = L::mul(sum_w, min);
        for (x, w) in self.x.iter().zip(&self.weights).skip(1) {
            let (x, w) = (L::load(x), L::load(w));
            min = L::select(L::less(x, min), x, min);
            max = L::select(L::less(max, x), x, max);
            sum_w = L::add(sum_w, w);
            sum_x = L::add(sum_x, L::mul(w, x));
        }
        min = L::select(L::less(zero, min), zero, min);
        let flat = L::equal(max, min);
        let lowest = min;
        let spread = L::sub(max, min);
        let inverse = L::div(L::splat(search.highest as f32), spread);
        let mut scale = L::div(L::splat(1.0), inverse);
        let spread_of = |min: L::Floats| L::sub(max, min);
        for (l, x) in self.levels.iter_mut().zip(&self.x) {
            L::store(L::level(L::mul(inverse, L::sub(L::load(x), min)), 0, search.highest), l);
        }
        let mut best = self.missed::<L>(search, &self.levels, scale, min);
        let mut tried = [[0.0; MOST]; SIZE];
        for step in 0..=search.steps {
            let inverse = L::div(L::splat(search.range(step)), spread_of(min));
            let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
            for ((l, x), w) in tried.iter_mut().zip(&self.x).zip(&self.weights) {
                let x = L::load(x);
                let level = L::level(L::mul(inverse, L::sub(x, min)), 0, search.highest);
                L::store(level, l);
                let weighted = L::mul(L::load(w), level);
                sum_l = L::add(sum_l, weighted);
                sum_l2 = L::add(sum_l2, L::mul(weighted, level));
                sum_xl = L::add(sum_xl, L::mul(weighted, x));
            }
            let determinant = L::sub(L::mul(sum_w, sum_l2), L::mul(sum_l, sum_l));
            let new_scale = L::div(L::sub(L::mul(sum_w, sum_xl), L::mul(sum_x, sum_l)), determinant);
            let new_min = L::div(L::sub(L::mul(sum_l2, sum_x), L::mul(sum_l, sum_xl)), determinant);
            let above = L::less(zero, new_min);
            let new_scale = L::select(above, L::div(sum_xl, sum_l2), new_scale);
            let new_min = L::select(above, zero, new_min);
            let missed = self.missed::<L>(search, &tried, new_scale, new_min);
            let better = L::both(L::less(zero, determinant), L::less(missed, best));
            if L::any(better) {
                for (l, tried) in self.levels.iter_mut().zip(&tried) {
                    L::store(L::select(better, L::load(tried), L::load(l)), l);
                }
                best = L::select(better, missed, best);
                scale = L::select(better, new_scale, scale);
                min = L::select(better, new_min, min);
            }
        }
        for l in &mut self.levels {
            L::store(L::select(flat, zero, L::load(l)), l);
        }
        L::store(L::select(flat, zero, scale), &mut self.scales);
        // The sign is turned, not subtracted from zero: a minimum of zero stays zero of the other sign.
        L::store(L::mul(L::select(flat, lowest, min), L::splat(-1.0)), &mut self.minima);
    }

    /// Returns the number of largest magnitude, and whether all count as zeros.
    #[inline(always)]
    fn extreme<L: Lanes>(&self) -> (L::Floats, L::Mask) {
        let (mut magnitude, mut extreme) = (L::splat(0.0), L::splat(0.0));
        for x in &self.x {
            let x = L::load(x);
            let larger = L::less(magnitude, L::abs(x));
            magnitude = L::select(larger, L::abs(x), magnitude);
            extreme = L::select(larger, x, extreme);
        }
        (extreme, L::less(magnitude, L::splat(ZERO_BELOW)))
    }

    /// Returns the two sums of `quant::ggml_fit::symmetric` for a scale's inverse.
    #[inline(always)]
    fn sums<L: Lanes>(&self, inverse: L::Floats) -> (L::Floats, L::Floats) {
        let (mut sum_lx, mut sum_l2) = (L::splat(0.0), L::splat(0.0));
        for x in &self.x {
            let x = L::load(x);
            let l = L::level(L::mul(inverse, x), -THIRTY_TWO, THIRTY_TWO - 1);
            let w = L::mul(x, x);
            sum_lx = L::add(sum_lx, L::mul(L::mul(w, x), l));
            sum_l2 = L::add(sum_l2, L::mul(L::mul(w, l), l));
        }
        (sum_lx, sum_l2)
    }

    /// `quant::ggml_fit::symmetric`.
    #[inline(always)]
    pub(super) fn symmetric<L: Lanes>(&mut self) {
        let zero = L::splat(0.0);
        let (max, empty) = self.extreme::<L>();
        let mut chosen = L::div(L::splat(-(THIRTY_TWO as f32)), max);
        let (sum_lx, sum_l2) = self.sums::<L>(chosen);
        let mut scale = L::select(L::equal(sum_l2, zero), zero, L::div(sum_lx, sum_l2));
        let mut best = L::mul(scale, sum_lx);
        for step in (-9i8..=9).filter(|s| *s != 0) {
            let inverse = L::div(L::splat(-(THIRTY_TWO as f32 + 0.1 * f32::from(step))), max);
            let (sum_lx, sum_l2) = self.sums::<L>(inverse);
            let better = L::both(L::less(zero, sum_l2), L::less(L::mul(best, sum_l2), L::mul(sum_lx, sum_lx)));
            let new_scale = L::div(sum_lx, sum_l2);
            chosen = L::select(better, inverse, chosen);
            scale = L::select(better, new_scale, scale);
            best = L::select(better, L::mul(new_scale, sum_lx), best);
        }
        for (l, x) in self.levels.iter_mut().zip(&self.x) {
            let level = L::level(L::mul(chosen, L::load(x)), -THIRTY_TWO, THIRTY_TWO - 1);
            L::store(L::select(empty, zero, L::add(level, L::splat(THIRTY_TWO as f32))), l);
        }
        L::store(L::select(empty, zero, scale), &mut self.scales);
    }

    /// `quant::ggml_fit::swept`.
    #[inline(always)]
    pub(super) fn swept<L: Lanes>(&mut self) {
        const STEPS: i32 = 4;
        const SWEEPS: usize = 5;
        let zero = L::splat(0.0);
        let (max, empty) = self.extreme::<L>();
        let inverse = L::div(L::splat(-(STEPS as f32)), max);
        let (mut sum_lx, mut sum_l2) = (zero, zero);
        for (l, x) in self.levels.iter_mut().zip(&self.x) {
            let x = L::load(x);
            let level = L::level(L::mul(inverse, x), -STEPS, STEPS - 1);
            L::store(level, l);
            let w = L::mul(x, x);
            sum_lx = L::add(sum_lx, L::mul(L::mul(w, x), level));
            sum_l2 = L::add(sum_l2, L::mul(L::mul(w, level), level));
        }
        for _ in 0..SWEEPS {
            let mut changed = false;
            for (place, x) in self.levels.iter_mut().zip(&self.x) {
                let (x, l) = (L::load(x), L::load(place));
                let w = L::mul(x, x);
                let without_lx = L::sub(sum_lx, L::mul(L::mul(w, x), l));
                let without_l2 = L::sub(sum_l2, L::mul(L::mul(w, l), l));
                let better = L::level(L::div(L::mul(x, without_l2), without_lx), -STEPS, STEPS - 1);
                let new_lx = L::add(without_lx, L::mul(L::mul(w, x), better));
                let new_l2 = L::add(without_l2, L::mul(L::mul(w, better), better));
                let moved = L::both(L::less(zero, without_lx), L::less(L::splat(0.5), L::abs(L::sub(better, l))));
                let ours = L::mul(L::mul(sum_lx, sum_lx), new_l2);
                let theirs = L::mul(L::mul(new_lx, new_lx), sum_l2);
                let accepted = L::both(L::both(moved, L::less(zero, new_l2)), L::less(ours, theirs));
                if L::any(accepted) {
                    changed = true;
                    L::store(L::select(accepted, better, l), place);
                    sum_lx = L::select(accepted, new_lx, sum_lx);
                    sum_l2 = L::select(accepted, new_l2, sum_l2);
                }
            }
            if !changed {
                break;
            }
        }
        for l in &mut self.levels {
            L::store(L::select(empty, zero, L::add(L::load(l), L::splat(STEPS as f32))), l);
        }
        let scale = L::select(L::less(zero, sum_l2), L::div(sum_lx, sum_l2), zero);
        L::store(L::select(empty, zero, scale), &mut self.scales);
    }
}
