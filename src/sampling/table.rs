//! The noise levels that a model was trained on, and the way between a level and its time.

use super::noising::Noising;

/// How a noise level becomes the time that the network is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeRule {
    /// Between the two nearest entries, in the logarithm of noise, as k-diffusion and diffusers do.
    #[default]
    Interpolated,
    /// The nearest entry, as ComfyUI does.
    Nearest,
}

/// A model's noise levels in training order: entry `t` is the level at time `t`, and they rise.
///
/// It is a value, so a family with other levels brings another table and keeps every schedule. Times are
/// what networks are told: places in the table where noise is added, and the levels themselves, from 0
/// to 1, in flow matching.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseTable {
    sigmas: Vec<f64>,
    logs: Vec<f64>,
    /// The shift of a table of flow matching.
    shift: Option<f64>,
}

/// Betas of Stable Diffusion: evenly spaced square roots. Its `configs/stable-diffusion/v1-inference.yaml`.
const SD_BETA_START: f64 = 0.000_85;
const SD_BETA_END: f64 = 0.012;
const SD_TIMES: usize = 1000;
/// What is left of the picture's variance at the last time of a zero-terminal table, whose 0 would be an
/// infinite level. ComfyUI `comfy/model_sampling.py`, `rescale_zero_terminal_snr_sigmas`.
const ALMOST_NOTHING: f64 = 4.897_345_189_085_343_5e-8;
/// Where solvers that walk in λ start on a table that ends at 1: so much of the way below its end.
/// ComfyUI `comfy/k_diffusion/sampling.py`, `offset_first_sigma_for_snr`.
const BELOW_THE_END: f64 = 1e-4;

/// Returns the logarithm of Flux.1's shift for a picture of so many tokens, each of 16 × 16 pixels.
///
/// It is linear, 0.5 at 256 and 1.15 at 4096, and goes on beyond both. diffusers
/// `pipelines/flux/pipeline_flux.py`, `calculate_shift`; the shift is e to this power.
#[must_use]
pub fn flux_mu(tokens: u64) -> f64 {
    const FEW: (f64, f64) = (256.0, 0.5);
    const MANY: (f64, f64) = (4096.0, 1.15);
    FEW.1 + (tokens as f64 - FEW.0) * (MANY.1 - FEW.1) / (MANY.0 - FEW.0)
}

/// Returns the level at `time` from 0 to 1. Esser et al. 2024, "Scaling Rectified Flow Transformers", equation 23.
fn shifted(shift: f64, time: f64) -> f64 {
    shift * time / (1.0 + (shift - 1.0) * time)
}

impl NoiseTable {
    /// Returns the table of Stable Diffusion 1.x, 2.x and XL.
    #[must_use]
    pub fn stable_diffusion() -> Self {
        Self::from_rising(stable_diffusion_kept().map(level_of).collect(), None)
    }

    /// Returns the same with noise alone at its end: Lin et al. 2023, algorithm 1.
    #[must_use]
    pub fn zero_terminal() -> Self {
        let mut roots: Vec<f64> = stable_diffusion_kept().map(f64::sqrt).collect();
        let (first, last) = (roots[0], roots[SD_TIMES - 1]);
        for root in &mut roots {
            *root = (*root - last) * first / (first - last);
        }
        roots[SD_TIMES - 1] = ALMOST_NOTHING.sqrt();
        Self::from_rising(roots.into_iter().map(|root| level_of(root * root)).collect(), None)
    }

    /// Returns the table of flow matching with `entries` levels, at even times up to 1. `shift` is above 0 and finite;
    /// above 1 it leads to more steps where there is much noise. SD3 and Z-Image have 1000 entries, Flux.1 has 10 000.
    #[must_use]
    pub fn flow(shift: f64, entries: usize) -> Self {
        let entries = entries.max(1);
        let levels = (1..=entries).map(|i| shifted(shift, i as f64 / entries as f64));
        Self::from_rising(levels.collect(), Some(shift))
    }

    /// Wraps levels that are positive and rise; `sigmas` is never empty.
    fn from_rising(sigmas: Vec<f64>, shift: Option<f64>) -> Self {
        let logs = sigmas.iter().map(|s| s.ln()).collect();
        Self { sigmas, logs, shift }
    }

    /// Returns how noise and picture stand together at these levels.
    #[must_use]
    pub fn noising(&self) -> Noising {
        if self.shift.is_some() { Noising::Mixed } else { Noising::Added }
    }

    /// Returns the highest level whose λ is finite: where solvers that walk in λ start.
    #[must_use]
    pub fn highest_below_noise(&self) -> f64 {
        self.shift.map_or_else(|| self.max(), |shift| shifted(shift, 1.0 - BELOW_THE_END))
    }

    /// Returns every level, lowest first.
    #[must_use]
    pub fn levels(&self) -> &[f64] {
        &self.sigmas
    }

    /// Returns the lowest level.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.sigmas[0]
    }

    /// Returns the highest level.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.sigmas[self.last()]
    }

    /// Returns the place of the highest level.
    #[must_use]
    pub fn last(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Returns the level at `time`, interpolated in its logarithm; times beyond the table get its ends.
    ///
    /// In flow matching the time is shifted as if it were none of ours: what [`time_of`](Self::time_of)
    /// says of a level leads to a higher one.
    #[must_use]
    pub fn sigma_at(&self, time: f64) -> f64 {
        if let Some(shift) = self.shift {
            return shifted(shift, time.clamp(0.0, 1.0));
        }
        let time = time.clamp(0.0, self.last() as f64);
        let low = floor_index(time);
        let high = (low + 1).min(self.last());
        let part = time - low as f64;
        (self.logs[low] * (1.0 - part) + self.logs[high] * part).exp()
    }

    /// Returns the time to tell the network at `sigma`; levels beyond the table get its ends.
    ///
    /// In flow matching it is the level itself, whatever the rule; networks scale it as they were trained to.
    #[must_use]
    pub fn time_of(&self, sigma: f64, rule: TimeRule) -> f64 {
        if self.shift.is_some() {
            return sigma;
        }
        let log = sigma.ln();
        let above = self.logs.partition_point(|l| *l <= log);
        // `low` and `low + 1` enclose the level, or are the pair at the end beyond which it lies.
        let low = above.saturating_sub(1).min(self.last().saturating_sub(1));
        let high = (low + 1).min(self.last());
        match rule {
            TimeRule::Interpolated => {
                let part = if high == low { 0.0 } else { (log - self.logs[low]) / (self.logs[high] - self.logs[low]) };
                low as f64 + part.clamp(0.0, 1.0)
            }
            TimeRule::Nearest => {
                let nearer_low = (log - self.logs[low]).abs() <= (self.logs[high] - log).abs();
                if nearer_low { low as f64 } else { high as f64 }
            }
        }
    }
}

/// Returns what is left of the picture's variance after each time of Stable Diffusion's training.
fn stable_diffusion_kept() -> impl Iterator<Item = f64> {
    even(SD_BETA_START.sqrt(), SD_BETA_END.sqrt(), SD_TIMES).scan(1.0, |kept, root| {
        *kept *= 1.0 - root * root;
        Some(*kept)
    })
}

/// Returns the level at which `kept` of a picture's variance is left.
fn level_of(kept: f64) -> f64 {
    ((1.0 - kept) / kept).sqrt()
}

/// Returns `count` numbers from `start` to `end`, both included.
pub(super) fn even(start: f64, end: f64, count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| even_at(start, end, i, count))
}

/// Returns the `i`-th of `count` even numbers from `start` to `end`; `start` where there is one only.
pub(super) fn even_at(start: f64, end: f64, i: usize, count: usize) -> f64 {
    if count < 2 { start } else { start + (end - start) * (i as f64 / (count - 1) as f64) }
}

/// Returns the index at or below a position that is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions lie in a table; the cast saturates")]
pub(super) fn floor_index(position: f64) -> usize {
    position.floor() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stable_diffusion_has_its_published_ends() {
        let table = NoiseTable::stable_diffusion();
        assert_eq!(table.levels().len(), 1000);
        assert!((table.min() - 0.029_167_2).abs() < 5e-8, "{}", table.min());
        assert!((table.max() - 14.614_641_2).abs() < 5e-8, "{}", table.max());
        assert!(table.levels().windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn levels_beyond_the_table_get_its_ends() {
        let table = NoiseTable::stable_diffusion();
        for rule in [TimeRule::Interpolated, TimeRule::Nearest] {
            for (sigma, time) in [(0.0, 0.0), (1e-9, 0.0), (table.min(), 0.0), (table.max(), 999.0), (1e9, 999.0)] {
                assert!((table.time_of(sigma, rule) - time).abs() < 1e-9, "{sigma} {rule:?}");
            }
        }
        assert!((table.sigma_at(-3.0) - table.min()).abs() < 1e-15);
        assert!((table.sigma_at(5000.0) - table.max()).abs() < 1e-12);
    }

    #[test]
    fn a_zero_terminal_table_rises_to_almost_pure_noise() {
        let (plain, table) = (NoiseTable::stable_diffusion(), NoiseTable::zero_terminal());
        assert!(table.levels().windows(2).all(|w| w[0] < w[1]));
        assert!((table.min() - plain.min()).abs() < 1e-12, "the first level stays");
        assert!((table.max() - 4_518.76).abs() < 0.01, "{}", table.max());
        assert_eq!(table.noising(), Noising::Added);
    }

    /// Sizes of pictures and the logarithms that they are published with.
    #[test]
    fn flux_shifts_large_pictures_more() {
        for (side, mu) in [(256, 0.5), (512, 0.63), (768, 0.846_666_666), (1024, 1.15), (1536, 2.016_666_666)] {
            let tokens = (side / 16) * (side / 16);
            assert!((flux_mu(tokens) - mu).abs() < 1e-8, "{side}: {}", flux_mu(tokens));
        }
    }

    #[test]
    fn a_flow_table_ends_at_pure_noise_and_tells_its_levels() {
        for (shift, entries) in [(3.0, 1000), (1.0, 10_000), (1.15_f64.exp(), 10_000), (0.5, 1)] {
            let table = NoiseTable::flow(shift, entries);
            assert_eq!((table.levels().len(), table.noising()), (entries, Noising::Mixed));
            assert!((table.max() - 1.0).abs() < 1e-15 && table.levels().windows(2).all(|w| w[0] < w[1]));
            assert!((table.time_of(0.3, TimeRule::Nearest) - 0.3).abs() < 1e-15);
            assert!(table.highest_below_noise() < 1.0 && table.highest_below_noise() > 0.999);
        }
        // Flux.1 writes the same with an exponential: e^μ / (e^μ + (1/t − 1)).
        let mu: f64 = 1.15;
        let theirs = |t: f64| mu.exp() / (mu.exp() + (1.0 / t - 1.0));
        let table = NoiseTable::flow(mu.exp(), 10_000);
        assert!((1..=10_000).all(|i| (table.levels()[i - 1] - theirs(i as f64 / 1e4)).abs() < 1e-14));
        assert_eq!(NoiseTable::flow(3.0, 0).levels(), [1.0], "no table is empty");
    }

    proptest! {
        #[test]
        fn times_and_levels_lead_back_to_each_other(time in 0.0..999.0_f64) {
            let table = NoiseTable::stable_diffusion();
            let sigma = table.sigma_at(time);
            prop_assert!((table.time_of(sigma, TimeRule::Interpolated) - time).abs() < 1e-9);
            let nearest = table.time_of(sigma, TimeRule::Nearest);
            prop_assert!(nearest.fract() == 0.0 && (nearest - time).abs() <= 0.5 + 1e-9);
        }
    }
}
