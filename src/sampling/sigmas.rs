//! Schedules: the noise levels that a run walks down, highest first and 0 last.
//!
//! The rules and their corner cases are ComfyUI's, because that is where people got their habits:
//! a run with `denoise` below 1 spaces more steps and walks the last ones, and `uni_pc` spaces one
//! step more and skips the level before the last.

use std::cmp::Ordering;

use puruspe::invbetai;

use super::method::{Sampler, Schedule};
use super::table::{NoiseTable, even_at, floor_index};

/// Karras et al. 2022, "Elucidating the Design Space", after equation 5.
const KARRAS_RHO: f64 = 7.0;
/// α and β of the beta schedule, of "Beta Sampling is All You Need" (2024).
const BETA_SHAPE: f64 = 0.6;
/// Above this, `denoise` counts as 1.
const WHOLE: f64 = 0.9999;
/// Most steps that are ever spaced. It bounds the work of `denoise` near 0, where nothing visible happens.
const MOST_STEPS: usize = 10_000;

/// What the noise levels of a run are made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// The solver; some want levels of their own.
    pub sampler: Sampler,
    /// The spacing.
    pub schedule: Schedule,
    /// Steps asked for.
    pub steps: usize,
    /// The part of the way to walk: 1 starts from noise, 0 does nothing.
    pub denoise: f64,
}

impl Course {
    /// Returns the levels, descending and ending with 0; empty where there is nothing to do.
    ///
    /// There is one level more than steps, but for `ddim_uniform`, whose whole stride seldom divides
    /// the table, and `beta` and very small `denoise`, where levels that fall together are merged: a
    /// step between equal levels changes nothing and would divide by zero in a multistep solver.
    #[must_use]
    pub fn sigmas(&self, table: &NoiseTable) -> Vec<f64> {
        let steps = self.steps.min(MOST_STEPS);
        if steps == 0 || self.denoise <= 0.0 {
            return Vec::new();
        }
        let whole = self.denoise > WHOLE;
        let spaced = if whole { steps } else { floor_index(steps as f64 / self.denoise).clamp(steps, MOST_STEPS) };
        let mut levels = if skips_before_last(self.sampler) {
            let mut levels = levels(table, self.schedule, spaced + 1);
            // Of `… a b`, with the final 0 still to come, `b` goes.
            levels.pop();
            levels
        } else {
            levels(table, self.schedule, spaced)
        };
        if !whole {
            levels.drain(..levels.len().saturating_sub(steps));
        }
        levels.push(0.0);
        levels.dedup();
        levels
    }
}

/// Returns whether the solver wants one step more with the level before the last left out.
fn skips_before_last(sampler: Sampler) -> bool {
    match sampler {
        Sampler::UniPc => true,
        Sampler::Euler
        | Sampler::EulerAncestral
        | Sampler::Heun
        | Sampler::Dpmpp2m
        | Sampler::Dpmpp2mSde
        | Sampler::DpmppSde
        | Sampler::Ddim
        | Sampler::Lcm => false,
    }
}

/// Returns about `n` levels, highest first, without the final 0.
fn levels(table: &NoiseTable, schedule: Schedule, n: usize) -> Vec<f64> {
    let last = table.last_time() as f64;
    match schedule {
        Schedule::Normal => (0..n).map(|i| table.sigma_at(even_at(last, 0.0, i, n))).collect(),
        Schedule::SgmUniform => (0..n).map(|i| table.sigma_at(even_at(last, 0.0, i, n + 1))).collect(),
        Schedule::Simple => simple(table, n),
        Schedule::Karras => {
            let root = |sigma: f64| sigma.powf(1.0 / KARRAS_RHO);
            (0..n).map(|i| even_at(root(table.max()), root(table.min()), i, n).powf(KARRAS_RHO)).collect()
        }
        Schedule::Exponential => (0..n).map(|i| even_at(table.max().ln(), table.min().ln(), i, n).exp()).collect(),
        Schedule::Beta => beta(table, n),
        Schedule::DdimUniform => ddim_uniform(table, n),
    }
}

fn simple(table: &NoiseTable, n: usize) -> Vec<f64> {
    let stride = table.levels().len() as f64 / n as f64;
    (0..n).map(|i| table.levels()[table.last_time() - floor_index(i as f64 * stride)]).collect()
}

fn ddim_uniform(table: &NoiseTable, n: usize) -> Vec<f64> {
    let stride = (table.levels().len() / n).max(1);
    let mut levels: Vec<f64> = table.levels().iter().skip(1).step_by(stride).copied().collect();
    levels.reverse();
    levels
}

fn beta(table: &NoiseTable, n: usize) -> Vec<f64> {
    let mut times: Vec<usize> = (0..n).map(|i| beta_time(i, n, table.last_time())).collect();
    times.dedup();
    times.into_iter().map(|t| table.levels()[t]).collect()
}

/// Returns the time at quantile `1 − i/n` of the symmetric beta distribution, rounded half to even.
fn beta_time(i: usize, n: usize, last: usize) -> usize {
    // The distribution is symmetric. At one half, whose time lies just between two entries, a rounding
    // error of the inverse would pick the other one.
    let part = match (2 * i).cmp(&n) {
        Ordering::Less => 1.0 - invbetai(i as f64 / n as f64, BETA_SHAPE, BETA_SHAPE),
        Ordering::Equal => 0.5,
        Ordering::Greater => invbetai(1.0 - i as f64 / n as f64, BETA_SHAPE, BETA_SHAPE),
    };
    floor_index((part * last as f64).round_ties_even()).min(last)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        schedules: HashMap<usize, HashMap<Schedule, Vec<f64>>>,
    }

    fn course(schedule: Schedule, steps: usize) -> Course {
        Course { sampler: Sampler::Euler, schedule, steps, denoise: 1.0 }
    }

    /// ComfyUI computes in single precision and the file keeps seven decimals.
    #[test]
    fn every_schedule_agrees_with_comfyui() {
        let vectors: Vectors =
            serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sampling/comfyui.json"))).unwrap();
        let table = NoiseTable::stable_diffusion();
        for (steps, schedules) in vectors.schedules {
            assert_eq!(schedules.len(), Schedule::ALL.len());
            for (schedule, expected) in schedules {
                let levels = course(schedule, steps).sigmas(&table);
                assert_eq!(levels.len(), expected.len(), "{schedule} {steps}");
                for (level, expected) in levels.iter().zip(&expected) {
                    assert!((level - expected).abs() <= 1e-6 * expected + 5e-8, "{schedule} {steps}: {level} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn the_published_five_steps() {
        let table = NoiseTable::stable_diffusion();
        for (schedule, expected) in [
            (Schedule::Normal, [14.61464, 4.08608, 1.61558, 0.69515, 0.02917]),
            (Schedule::SgmUniform, [14.61464, 5.09241, 2.27973, 1.16286, 0.57119]),
            (Schedule::Karras, [14.61464, 4.79653, 1.27410, 0.24795, 0.02917]),
            (Schedule::Simple, [14.61464, 5.08776, 2.27646, 1.16058, 0.56928]),
        ] {
            let levels = course(schedule, 5).sigmas(&table);
            assert!(levels.iter().zip(expected).all(|(a, b)| (a - b).abs() < 6e-6), "{schedule}: {levels:?}");
        }
    }

    #[test]
    fn part_of_the_way_is_the_end_of_a_finer_walk() {
        let table = NoiseTable::stable_diffusion();
        let whole = course(Schedule::Karras, 40).sigmas(&table);
        let half = Course { denoise: 0.5, ..course(Schedule::Karras, 20) }.sigmas(&table);
        assert_eq!(half, whole[20..]);
        // int(20 / 0.6) = 33.
        let levels = Course { denoise: 0.6, ..course(Schedule::Karras, 20) }.sigmas(&table);
        assert_eq!(levels, course(Schedule::Karras, 33).sigmas(&table)[13..]);
        assert_eq!(Course { denoise: 0.999_95, ..course(Schedule::Karras, 40) }.sigmas(&table), whole);
        assert!(Course { denoise: 0.0, ..course(Schedule::Karras, 20) }.sigmas(&table).is_empty());
        assert!(course(Schedule::Karras, 0).sigmas(&table).is_empty());
    }

    #[test]
    fn uni_pc_skips_the_level_before_the_last() {
        let table = NoiseTable::stable_diffusion();
        let finer = course(Schedule::Karras, 7).sigmas(&table);
        let levels = Course { sampler: Sampler::UniPc, ..course(Schedule::Karras, 6) }.sigmas(&table);
        assert_eq!(levels[..6], finer[..6]);
        assert_eq!(levels[6..], [0.0]);
    }

    fn any_course() -> impl Strategy<Value = Course> {
        let sampler = proptest::sample::select(Sampler::ALL);
        let schedule = proptest::sample::select(Schedule::ALL);
        (sampler, schedule, 1usize..=200, 0.0..=1.0_f64).prop_map(|(sampler, schedule, steps, denoise)| Course {
            sampler,
            schedule,
            steps,
            denoise,
        })
    }

    proptest! {
        #[test]
        fn levels_descend_to_zero(course in any_course()) {
            let table = NoiseTable::stable_diffusion();
            let levels = course.sigmas(&table);
            prop_assert!(levels.windows(2).all(|w| w[0] > w[1]), "{:?}", levels);
            prop_assert!(levels.iter().all(|s| *s <= table.max() * (1.0 + 1e-12)));
            prop_assert_eq!(levels.last().copied(), (course.denoise > 0.0).then_some(0.0));
            prop_assert!(levels.len() >= 2 || course.denoise <= 0.0);
        }

        #[test]
        fn a_whole_run_has_a_level_more_than_steps(course in any_course()) {
            let course = Course { denoise: 1.0, ..course };
            let found = course.sigmas(&NoiseTable::stable_diffusion()).len();
            match course.schedule {
                Schedule::Normal | Schedule::Karras | Schedule::Exponential | Schedule::SgmUniform | Schedule::Simple => {
                    prop_assert_eq!(found, course.steps + 1);
                }
                Schedule::Beta => prop_assert!(found <= course.steps + 1 && found > course.steps / 2),
                Schedule::DdimUniform => prop_assert!(found >= course.steps),
            }
        }
    }

    #[test]
    fn no_number_makes_a_course_panic() {
        let table = NoiseTable::stable_diffusion();
        for sampler in [Sampler::Euler, Sampler::UniPc] {
            for schedule in Schedule::ALL {
                for steps in [0, 1, 2, 999, 1000, 1001, usize::MAX] {
                    for denoise in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 1e-9, 0.5, 1.0, 7.0, f64::INFINITY] {
                        let levels = Course { sampler, schedule: *schedule, steps, denoise }.sigmas(&table);
                        assert!(levels.windows(2).all(|w| w[0] > w[1]), "{sampler} {schedule} {steps} {denoise}");
                    }
                }
            }
        }
    }
}
