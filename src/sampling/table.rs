//! The noise levels that a model was trained on, and the way between a level and its time.

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
/// It is a value, so a family with other levels brings another table and keeps every schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseTable {
    sigmas: Vec<f64>,
    logs: Vec<f64>,
}

/// Betas of Stable Diffusion: evenly spaced square roots. Its `configs/stable-diffusion/v1-inference.yaml`.
const SD_BETA_START: f64 = 0.000_85;
const SD_BETA_END: f64 = 0.012;
const SD_TIMES: usize = 1000;

impl NoiseTable {
    /// Returns the table of Stable Diffusion 1.x, 2.x and XL.
    #[must_use]
    pub fn stable_diffusion() -> Self {
        let roots = even(SD_BETA_START.sqrt(), SD_BETA_END.sqrt(), SD_TIMES);
        let mut kept = 1.0;
        let sigmas = roots.map(|root| {
            kept *= 1.0 - root * root;
            ((1.0 - kept) / kept).sqrt()
        });
        Self::from_rising(sigmas.collect())
    }

    /// Wraps levels that are positive and rise; `sigmas` is never empty.
    fn from_rising(sigmas: Vec<f64>) -> Self {
        let logs = sigmas.iter().map(|s| s.ln()).collect();
        Self { sigmas, logs }
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
        self.sigmas[self.last_time()]
    }

    /// Returns the time of the highest level.
    #[must_use]
    pub fn last_time(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Returns the level at `time`, interpolated in its logarithm; times beyond the table get its ends.
    #[must_use]
    pub fn sigma_at(&self, time: f64) -> f64 {
        let time = time.clamp(0.0, self.last_time() as f64);
        let low = floor_index(time);
        let high = (low + 1).min(self.last_time());
        let part = time - low as f64;
        (self.logs[low] * (1.0 - part) + self.logs[high] * part).exp()
    }

    /// Returns the time to tell the network at `sigma`; levels beyond the table get its ends.
    #[must_use]
    pub fn time_of(&self, sigma: f64, rule: TimeRule) -> f64 {
        let log = sigma.ln();
        let above = self.logs.partition_point(|l| *l <= log);
        // `low` and `low + 1` enclose the level, or are the pair at the end beyond which it lies.
        let low = above.saturating_sub(1).min(self.last_time().saturating_sub(1));
        let high = (low + 1).min(self.last_time());
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
