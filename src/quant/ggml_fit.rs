//! The searches by which ggml fits a scale, and a minimum, to the numbers of one sub-block.
//!
//! The method of `ggml/src/ggml-quants.c` (`make_qx_quants`, `make_q3_quants`, `make_qkx2_quants`). Single precision in
//! exactly the order written here: a regrouped sum or a fused product gives other bytes than ggml's.

/// Below this, ggml takes a sub-block for zeros (`GROUP_MAX_EPS`).
pub const ZERO_BELOW: f32 = 1e-15;

/// Added, it leaves a number's nearest integer in the low bits of the sum, ties to even (`nearest_int`).
pub const ROUNDER: f32 = 12_582_912.0;

/// Returns the nearest integer; for what lies beyond 22 bits the same nonsense as ggml's.
#[must_use]
#[inline]
pub fn nearest(v: f32) -> i32 {
    ((v + ROUNDER).to_bits() & 0x007F_FFFF).cast_signed() - 0x0040_0000
}

/// Returns the low eight bits, as C converts.
#[must_use]
#[inline]
pub fn low_byte(v: i32) -> u8 {
    v.cast_unsigned() as u8
}

/// What is made small when levels are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The sum of weighted distances.
    Distance,
    /// The sum of weighted squares.
    Square,
}

/// How scale and minimum of a sub-block are searched: which levels there are, and which ranges are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// The highest level.
    pub highest: i32,
    /// The first range tried, added to the highest level.
    pub from: f32,
    /// How much is added for each range after that.
    pub by: f32,
    /// How many ranges are tried after the first.
    pub steps: u8,
    /// What is made small.
    pub miss: Miss,
}

/// The search of `Q2_K`.
pub const SEARCH_2: Search = Search { highest: 3, from: -0.5, by: 0.1, steps: 15, miss: Miss::Distance };
/// The search of `Q4_K`.
pub const SEARCH_4: Search = Search { highest: 15, from: -1.0, by: 0.1, steps: 20, miss: Miss::Square };
/// The search of `Q5_K`.
pub const SEARCH_5: Search = Search { highest: 31, from: -0.5, by: 0.1, steps: 15, miss: Miss::Square };

impl Search {
    /// Returns how many levels the range number `step` is cut into.
    #[must_use]
    pub fn range(&self, step: u8) -> f32 {
        (self.from + self.by * f32::from(step)) + self.highest as f32
    }

    fn level(&self, v: f32) -> u8 {
        low_byte(nearest(v).clamp(0, self.highest))
    }

    fn missed(&self, x: &[f32], weights: &[f32], levels: &[u8], scale: f32, min: f32) -> f32 {
        let mut sum = 0.0;
        for ((x, w), l) in x.iter().zip(weights).zip(levels) {
            let away = scale * f32::from(*l) + min - x;
            sum += w * match self.miss {
                Miss::Distance => away.abs(),
                Miss::Square => away * away,
            };
        }
        sum
    }
}

/// Fits `x ≈ scale · level − minimum`, levels from 0; returns scale and minimum, and leaves the levels in `levels`.
#[must_use]
#[expect(clippy::float_cmp, reason = "equal bounds are one number")]
pub fn affine<const N: usize>(search: &Search, x: &[f32; N], weights: &[f32; N], levels: &mut [u8]) -> (f32, f32) {
    let (mut min, mut max) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (x, w) in x.iter().zip(weights).skip(1) {
        if *x < min {
            min = *x;
        }
        if *x > max {
            max = *x;
        }
        sum_w += w;
        sum_x += w * x;
    }
    if min > 0.0 {
        min = 0.0;
    }
    levels.fill(0);
    if max == min {
        return (0.0, -min);
    }
    let inverse = search.highest as f32 / (max - min);
    let mut scale = 1.0 / inverse;
    levels.iter_mut().zip(x).for_each(|(l, x)| *l = search.level(inverse * (x - min)));
    let mut best = search.missed(x, weights, levels, scale, min);
    for step in 0..=search.steps {
        // The minimum is the best one so far, not the first: each range is tried from there.
        let inverse = search.range(step) / (max - min);
        let mut tried = [0u8; N];
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((l, x), w) in tried.iter_mut().zip(x).zip(weights) {
            *l = search.level(inverse * (x - min));
            let level = f32::from(*l);
            sum_l += w * level;
            sum_l2 += w * level * level;
            sum_xl += w * level * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut new_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if new_min > 0.0 {
                new_min = 0.0;
                new_scale = sum_xl / sum_l2;
            }
            let missed = search.missed(x, weights, &tried, new_scale, new_min);
            if missed < best {
                levels.copy_from_slice(&tried);
                best = missed;
                scale = new_scale;
                min = new_min;
            }
        }
    }
    (scale, -min)
}

/// Returns the number with the largest magnitude, the first of equals, with its sign; nothing where all count as zeros.
fn extreme(x: &[f32]) -> Option<f32> {
    let (mut magnitude, mut extreme) = (0.0, 0.0);
    for v in x {
        if v.abs() > magnitude {
            magnitude = v.abs();
            extreme = *v;
        }
    }
    (magnitude >= ZERO_BELOW).then_some(extreme)
}

/// Fits `x ≈ scale · (level − 32)`, levels from 0 to 63, each number weighing its square; returns the scale and leaves the
/// levels in `levels`.
#[must_use]
pub fn symmetric(x: &[f32; 16], levels: &mut [u8]) -> f32 {
    const STEPS: i32 = 32;
    levels.fill(0);
    let Some(max) = extreme(x) else { return 0.0 };
    let level = |v: f32| nearest(v).clamp(-STEPS, STEPS - 1);
    let sums = |inverse: f32| {
        let (mut sum_lx, mut sum_l2) = (0.0f32, 0.0f32);
        for x in x {
            let l = level(inverse * x) as f32;
            let w = x * x;
            sum_lx += w * x * l;
            sum_l2 += w * l * l;
        }
        (sum_lx, sum_l2)
    };
    let mut chosen = -(STEPS as f32) / max;
    let (sum_lx, sum_l2) = sums(chosen);
    let mut scale = if sum_l2 == 0.0 { 0.0 } else { sum_lx / sum_l2 };
    let mut best = scale * sum_lx;
    for step in (-9i8..=9).filter(|s| *s != 0) {
        let inverse = -(STEPS as f32 + 0.1 * f32::from(step)) / max;
        let (sum_lx, sum_l2) = sums(inverse);
        if sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            chosen = inverse;
            scale = sum_lx / sum_l2;
            best = scale * sum_lx;
        }
    }
    levels.iter_mut().zip(x).for_each(|(l, x)| *l = low_byte(level(chosen * x) + STEPS));
    scale
}

/// Fits `x ≈ scale · (level − 4)`, levels from 0 to 7, improving one level at a time in at most five sweeps; returns the scale
/// and leaves the levels in `levels`.
#[must_use]
pub fn swept(x: &[f32; 16], levels: &mut [u8]) -> f32 {
    const STEPS: i32 = 4;
    const SWEEPS: usize = 5;
    levels.fill(0);
    let Some(max) = extreme(x) else { return 0.0 };
    let inverse = -(STEPS as f32) / max;
    let level = |v: f32| nearest(v).clamp(-STEPS, STEPS - 1) as f32;
    let mut chosen = [0.0f32; 16];
    let (mut sum_lx, mut sum_l2) = (0.0f32, 0.0f32);
    for (l, x) in chosen.iter_mut().zip(x) {
        *l = level(inverse * x);
        let w = x * x;
        sum_lx += w * x * *l;
        sum_l2 += w * *l * *l;
    }
    for _ in 0..SWEEPS {
        let mut changed = false;
        for i in 0..16 {
            let (x, l) = (x[i], chosen[i]);
            let w = x * x;
            let mut without_lx = sum_lx - w * x * l;
            if without_lx > 0.0 {
                let mut without_l2 = sum_l2 - w * l * l;
                let better = level(x * without_l2 / without_lx);
                if (better - l).abs() > 0.5 {
                    without_lx += w * x * better;
                    without_l2 += w * better * better;
                    if without_l2 > 0.0 && without_lx * without_lx * sum_l2 > sum_lx * sum_lx * without_l2 {
                        chosen[i] = better;
                        (sum_lx, sum_l2) = (without_lx, without_l2);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    levels.iter_mut().zip(chosen).for_each(|(out, l)| *out = low_byte(l as i32 + STEPS));
    if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5, -2.5].map(nearest), [0, 2, 2, 0, -2, -2]);
        assert_eq!([0.499_999_97, -7.6, 4_194_303.0, -4_194_303.0].map(nearest), [0, -8, 4_194_303, -4_194_303]);
    }

    proptest! {
        #[test]
        fn nearest_is_rounding_to_even_within_22_bits(v in -4_194_303f32..4_194_303.0) {
            prop_assert_eq!(nearest(v), v.round_ties_even() as i32);
        }

        #[test]
        fn a_search_never_ends_worse_than_it_began(x in prop::collection::vec(-1f32..1.0, 32)) {
            let x: [f32; 32] = x.try_into().unwrap();
            let mut levels = [0; 32];
            let (scale, minimum) = affine(&SEARCH_4, &x, &[1.0; 32], &mut levels);
            let low = x.iter().copied().fold(0.0, f32::min);
            let high = x.iter().copied().fold(low, f32::max);
            let step = (high - low) / 15.0;
            let found = SEARCH_4.missed(&x, &[1.0; 32], &levels, scale, -minimum);
            prop_assert!(found <= 32.0 * step * step / 4.0 * 1.01 + 1e-12);
        }
    }
}
