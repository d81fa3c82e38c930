//! Schedules: the noise levels that a run walks down, highest first and 0 last.
//!
//! The rules and their corner cases are ComfyUI's, because that is where people got their habits:
//! a run with `denoise` below 1 spaces more steps and walks the last ones, and `uni_pc` and `dpm_2` space
//! one step more and skip the level before the last. In flow matching `normal` and `sgm_uniform` take a level
//! for a time and shift it again, as ComfyUI and diffusers do for SD3.

use std::cmp::Ordering;

use puruspe::invbetai;

use super::method::{Sampler, Schedule};
use super::noising::Noising;
use super::table::{NoiseTable, TimeRule, even_at, floor_index};

/// Karras et al. 2022, "Elucidating the Design Space", after equation 5.
const KARRAS_RHO: f64 = 7.0;
/// α and β of the beta schedule, of "Beta Sampling is All You Need" (2024).
const BETA_SHAPE: f64 = 0.6;
/// How far `linear_quadratic` goes in its first, even half. Genmo's Mochi, `linear_quadratic_schedule`.
const EVEN_WAY: f64 = 0.025;
/// A level below this counts as none. ComfyUI `comfy/samplers.py`, `normal_scheduler`.
const NO_NOISE: f64 = 1e-5;
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
        // Where a shift is extreme, levels next to 1 differ by rounding alone.
        levels.dedup_by(|next, before| *next >= *before);
        if walks_in_lambda(self.sampler) {
            start_below_noise(&mut levels, table);
        }
        levels
    }
}

/// Returns whether the solver wants one step more with the level before the last left out.
fn skips_before_last(sampler: Sampler) -> bool {
    match sampler {
        Sampler::UniPc | Sampler::Dpm2 => true,
        Sampler::Euler
        | Sampler::EulerAncestral
        | Sampler::Heun
        | Sampler::Dpmpp2sAncestral
        | Sampler::Dpmpp2m
        | Sampler::Dpmpp2mSde
        | Sampler::Dpmpp3mSde
        | Sampler::DpmppSde
        | Sampler::Ddim
        | Sampler::Lcm => false,
    }
}

/// Returns whether the solver's steps are made of λ, which has no value at pure noise.
fn walks_in_lambda(sampler: Sampler) -> bool {
    match sampler {
        Sampler::Dpmpp2mSde | Sampler::Dpmpp3mSde | Sampler::DpmppSde => true,
        // `dpmpp_2s_ancestral` has a middle of its own for a step from pure noise.
        Sampler::Euler
        | Sampler::EulerAncestral
        | Sampler::Heun
        | Sampler::Dpm2
        | Sampler::Dpmpp2sAncestral
        | Sampler::Dpmpp2m
        | Sampler::Ddim
        | Sampler::Lcm
        | Sampler::UniPc => false,
    }
}

/// Lowers a first level of pure noise to the highest below it, where noise and picture are mixed.
fn start_below_noise(levels: &mut Vec<f64>, table: &NoiseTable) {
    let highest = table.highest_below_noise();
    if table.noising() == Noising::Mixed && levels.first().is_some_and(|first| *first >= 1.0) {
        levels.retain(|level| *level < highest);
        levels.insert(0, highest);
    }
}

/// Returns about `n` levels, highest first, without the final 0.
fn levels(table: &NoiseTable, schedule: Schedule, n: usize) -> Vec<f64> {
    match schedule {
        Schedule::Normal => {
            let ends_clean = table.sigma_at(ends(table).1) < NO_NOISE;
            even_in_time(table, n, if ends_clean { n + 1 } else { n })
        }
        Schedule::SgmUniform => even_in_time(table, n, n + 1),
        Schedule::Simple => simple(table, n),
        Schedule::Karras => {
            let root = |sigma: f64| sigma.powf(1.0 / KARRAS_RHO);
            (0..n).map(|i| even_at(root(table.max()), root(table.min()), i, n).powf(KARRAS_RHO)).collect()
        }
        Schedule::Exponential => (0..n).map(|i| even_at(table.max().ln(), table.min().ln(), i, n).exp()).collect(),
        Schedule::Beta => beta(table, n),
        Schedule::DdimUniform => ddim_uniform(table, n),
        Schedule::LinearQuadratic => linear_quadratic(n).map(|left| table.max() * left).collect(),
        Schedule::KlOptimal => (0..n).map(|i| even_at(table.max().atan(), table.min().atan(), i, n).tan()).collect(),
    }
}

/// Returns the times of the highest and the lowest level.
fn ends(table: &NoiseTable) -> (f64, f64) {
    (table.time_of(table.max(), TimeRule::Interpolated), table.time_of(table.min(), TimeRule::Interpolated))
}

/// Returns the first `n` of `count` levels at even times from the highest to the lowest.
fn even_in_time(table: &NoiseTable, n: usize, count: usize) -> Vec<f64> {
    let (first, last) = ends(table);
    (0..n).map(|i| table.sigma_at(even_at(first, last, i, count))).collect()
}

/// Returns the parts of the highest level that are left: a line for half of the steps, and a parabola that
/// goes on with its slope and would end at 0 after the last.
fn linear_quadratic(n: usize) -> impl Iterator<Item = f64> {
    let even = n / 2;
    let slope = if even == 0 { 0.0 } else { EVEN_WAY / even as f64 };
    let rest = (n - even) as f64;
    let bend = (1.0 - EVEN_WAY - slope * rest) / (rest * rest);
    (0..n).map(move |i| {
        let beyond = i.saturating_sub(even) as f64;
        1.0 - slope * i as f64 - bend * beyond * beyond
    })
}

fn simple(table: &NoiseTable, n: usize) -> Vec<f64> {
    let stride = table.levels().len() as f64 / n as f64;
    (0..n).map(|i| table.levels()[table.last() - floor_index(i as f64 * stride)]).collect()
}

fn ddim_uniform(table: &NoiseTable, n: usize) -> Vec<f64> {
    let stride = (table.levels().len() / n).max(1);
    let mut levels: Vec<f64> = table.levels().iter().skip(1).step_by(stride).copied().collect();
    levels.reverse();
    levels
}

fn beta(table: &NoiseTable, n: usize) -> Vec<f64> {
    let mut times: Vec<usize> = (0..n).map(|i| beta_time(i, n, table.last())).collect();
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
        schedules: HashMap<String, HashMap<usize, HashMap<Schedule, Vec<f64>>>>,
    }

    fn tables() -> [(&'static str, NoiseTable); 4] {
        [
            ("stable_diffusion", NoiseTable::stable_diffusion()),
            ("flow_shift_3", NoiseTable::flow(3.0, 1000)),
            ("flow_shift_1", NoiseTable::flow(1.0, 1000)),
            ("flux_mu_1.15", NoiseTable::flow(1.15_f64.exp(), 10_000)),
        ]
    }

    fn course(schedule: Schedule, steps: usize) -> Course {
        Course { sampler: Sampler::Euler, schedule, steps, denoise: 1.0 }
    }

    /// ComfyUI computes in single precision and the file keeps seven decimals.
    #[test]
    fn every_schedule_agrees_with_comfyui() {
        let vectors: Vectors =
            serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sampling/comfyui.json"))).unwrap();
        assert_eq!(vectors.schedules.len(), tables().len());
        for (name, table) in tables() {
            for (steps, schedules) in &vectors.schedules[name] {
                assert_eq!(schedules.len(), Schedule::ALL.len());
                for (schedule, expected) in schedules {
                    let levels = course(*schedule, *steps).sigmas(&table);
                    let name = format!("{name} {schedule} {steps}");
                    assert_eq!(levels.len(), expected.len(), "{name}");
                    for (level, expected) in levels.iter().zip(expected) {
                        assert!((level - expected).abs() <= 1e-6 * expected + 1e-7, "{name}: {level} is not {expected}");
                    }
                }
            }
        }
    }

    /// No model has such a table, but a shift near 0 makes one.
    #[test]
    fn a_normal_end_that_is_no_noise_is_the_end() {
        let table = NoiseTable::flow(0.05, 1000);
        let levels = course(Schedule::Normal, 4).sigmas(&table);
        assert_eq!(levels, course(Schedule::SgmUniform, 4).sigmas(&table));
        assert_eq!(levels.len(), 5);
    }

    #[test]
    fn stochastic_solvers_start_just_below_pure_noise() {
        let table = NoiseTable::flow(3.0, 1000);
        for sampler in Sampler::ALL {
            let course = Course { sampler: *sampler, ..course(Schedule::Simple, 4) };
            let first = course.sigmas(&table)[0];
            assert_eq!(first < 1.0, walks_in_lambda(*sampler), "{sampler}");
            assert!((course.sigmas(&NoiseTable::stable_diffusion())[0] - 14.614_641_2).abs() < 5e-8, "{sampler}");
            let part = Course { denoise: 0.5, sampler: *sampler, ..course };
            let finer = Course { steps: 8, ..course };
            assert_eq!(part.sigmas(&table), finer.sigmas(&table)[4..], "{sampler}: less than pure noise stays");
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
            for (name, table) in tables() {
                let levels = course.sigmas(&table);
                prop_assert!(levels.windows(2).all(|w| w[0] > w[1]), "{name}: {:?}", levels);
                prop_assert!(levels.iter().all(|s| *s <= table.max() * (1.0 + 1e-12)));
                prop_assert_eq!(levels.last().copied(), (course.denoise > 0.0).then_some(0.0));
                prop_assert!(levels.len() >= 2 || course.denoise <= 0.0);
            }
        }

        #[test]
        fn a_whole_run_has_a_level_more_than_steps(course in any_course()) {
            let course = Course { denoise: 1.0, ..course };
            for (name, table) in tables() {
                let found = course.sigmas(&table).len();
                match course.schedule {
                    Schedule::Normal
                    | Schedule::Karras
                    | Schedule::Exponential
                    | Schedule::SgmUniform
                    | Schedule::Simple
                    | Schedule::LinearQuadratic
                    | Schedule::KlOptimal => prop_assert_eq!(found, course.steps + 1, "{}", name),
                    Schedule::Beta => prop_assert!(found <= course.steps + 1 && found > course.steps / 2, "{name}"),
                    Schedule::DdimUniform => prop_assert!(found >= course.steps, "{name}"),
                }
            }
        }
    }

    #[test]
    fn no_number_makes_a_course_panic() {
        for (table, sampler) in [
            (NoiseTable::stable_diffusion(), Sampler::UniPc),
            (NoiseTable::flow(3.0, 1000), Sampler::DpmppSde),
            (NoiseTable::flow(1e-9, 1), Sampler::Euler),
            (NoiseTable::flow(1e9, 3), Sampler::Euler),
        ] {
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
