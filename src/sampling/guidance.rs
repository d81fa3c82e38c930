//! Around the network: what goes in, what its output means, and how two outputs become one.
//!
//! Where noise is added, the sampler's `x` is the picture plus `σ` of noise; the network was trained on
//! the same thing scaled to unit variance, is told a time instead of a level, and answers with noise or
//! velocity. A network of flow matching takes `x` as it is.

use super::method::Prediction;
use super::noising::Noising;
use super::solver::Linear;
use super::table::NoiseTable;

impl Prediction {
    /// Returns the factor from the sampler's `x` to the network's input: `1/√(σ² + 1)`, or 1 for flow matching.
    #[must_use]
    pub fn input_scale(self, sigma: f64) -> f64 {
        match self {
            Self::Epsilon | Self::V => 1.0 / (sigma * sigma + 1.0).sqrt(),
            Self::Flow => 1.0,
        }
    }

    /// Returns the clean picture in `x` of level `sigma`, given what the network answered.
    ///
    /// | | |
    /// |---|---|
    /// | noise | `x − σ·o` |
    /// | velocity | `x/(σ² + 1) − σ·o/√(σ² + 1)` |
    /// | velocity of flow matching | `x − σ·o` |
    #[must_use]
    pub fn denoised<V: Linear>(self, x: &V, output: &V, sigma: f64) -> V {
        match self {
            Self::Epsilon | Self::Flow => V::sum(&[(1.0, x), (-sigma, output)]),
            Self::V => {
                let scale = self.input_scale(sigma);
                V::sum(&[(scale * scale, x), (-sigma * scale, output)])
            }
        }
    }
}

/// Returns `without + scale · (with − without)`: classifier-free guidance of two clean estimates.
///
/// At scale 1 the answer is `with`, so a caller skips the other pass. The difference is taken first,
/// because in single precision weights such as −6 and 7 on near numbers lose digits.
#[must_use]
pub fn guide<V: Linear>(with: &V, without: &V, scale: f64) -> V {
    let difference = V::sum(&[(1.0, with), (-1.0, without)]);
    V::sum(&[(1.0, without), (scale, &difference)])
}

/// A batch whose samples can be measured and scaled one by one.
pub trait Spread: Linear {
    /// Returns the standard deviation of each sample over all of its elements, with `n − 1` below.
    fn deviations(&self) -> Vec<f64>;

    /// Returns each sample times its factor; there are as many factors as samples.
    fn times(&self, factors: &[f64]) -> Self;
}

/// Returns guidance whose contrast is brought back by `part` to that of `with`: Lin et al. 2023, "Common
/// Diffusion Noise Schedules and Sample Steps are Flawed", §3.4, equations 15 and 16, with `part` for φ.
///
/// `with` and `without` are what the network answered, not clean estimates: guidance does not care, but
/// deviations do. It matters most for networks that predict velocity down to pure noise. A sample without
/// any contrast keeps its guidance. Source of the numbers: diffusers' `rescale_noise_cfg`.
#[must_use]
pub fn guide_rescaled<V: Spread>(with: &V, without: &V, scale: f64, part: f64) -> V {
    let guided = guide(with, without, scale);
    let pairs = with.deviations().into_iter().zip(guided.deviations());
    let factors: Vec<f64> = pairs.map(|(wanted, found)| if found > 0.0 { part * wanted / found + (1.0 - part) } else { 1.0 }).collect();
    guided.times(&factors)
}

/// How a run starts: `x = noise · scale + latent · picture`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartNoise {
    /// The factor on the unit noise.
    pub scale: f64,
    /// The factor on the latent.
    pub picture: f64,
}

impl StartNoise {
    /// Relative distance from the highest level at which a run still counts as starting from noise only.
    const CLOSE: f64 = 1e-5;

    /// Returns the start of a run whose first level on the table is `first`.
    ///
    /// Mixed noise leaves the rest to the picture. Where it is added, the network's input is meant to have
    /// unit variance from the highest level on, as pure noise of training had: `√(1 + σ²)`. Below, the
    /// noise goes on top of a picture that has its own: `σ`.
    #[must_use]
    pub fn at(first: f64, table: &NoiseTable) -> Self {
        let noising = table.noising();
        let highest = table.max();
        let close = (first - highest).abs() <= Self::CLOSE * first.max(highest);
        let scale = match noising {
            Noising::Added if close || first > highest => first.hypot(1.0),
            Noising::Added | Noising::Mixed => first,
        };
        Self { scale, picture: noising.signal(first) }
    }

    /// Returns the noisy start for unit `noise` on a `latent`, which is zeros where there is no picture yet.
    #[must_use]
    pub fn mix<V: Linear>(self, noise: &V, latent: &V) -> V {
        V::sum(&[(self.scale, noise), (self.picture, latent)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::table::NoiseTable;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1.0)
    }

    #[test]
    fn guidance_leads_away_from_what_is_not_wanted() {
        assert_eq!(guide(&vec![3.0], &vec![1.0], 7.0), [15.0]);
        assert_eq!(guide(&vec![3.0], &vec![1.0], 1.0), [3.0]);
        assert_eq!(guide(&vec![3.0], &vec![1.0], 0.0), [1.0]);
    }

    #[test]
    fn a_run_from_noise_starts_with_a_little_more_than_sigma() {
        let table = NoiseTable::stable_diffusion();
        let highest = table.max();
        assert!(close(StartNoise::at(highest, &table).scale, (1.0 + highest * highest).sqrt()));
        // ComfyUI's single-precision highest level counts as the highest.
        assert!(StartNoise::at(14.614_640_2, &table).scale > 14.64);
        assert!(StartNoise::at(20.0, &table).scale > 20.0);
        assert!(close(StartNoise::at(14.6, &table).scale, 14.6));
        assert_eq!(StartNoise { scale: 2.0, picture: 1.0 }.mix(&vec![1.5], &vec![0.25]), [3.25]);
    }

    #[test]
    fn mixed_noise_leaves_the_rest_to_the_picture() {
        let table = NoiseTable::flow(3.0, 1000);
        assert_eq!(StartNoise::at(1.0, &table), StartNoise { scale: 1.0, picture: 0.0 });
        assert_eq!(StartNoise::at(0.75, &table).mix(&vec![2.0], &vec![8.0]), [3.5]);
    }

    impl Linear for Vec<Vec<f64>> {
        fn sum(terms: &[(f64, &Self)]) -> Self {
            let sample = |i: usize| terms.iter().map(|(weight, value)| (*weight, &value[i])).collect::<Vec<_>>();
            (0..terms[0].1.len()).map(|i| Vec::<f64>::sum(&sample(i))).collect()
        }
    }

    impl Spread for Vec<Vec<f64>> {
        fn deviations(&self) -> Vec<f64> {
            let deviation = |sample: &Vec<f64>| {
                let mean = sample.iter().sum::<f64>() / sample.len() as f64;
                (sample.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (sample.len() - 1) as f64).sqrt()
            };
            self.iter().map(deviation).collect()
        }

        fn times(&self, factors: &[f64]) -> Self {
            self.iter().zip(factors).map(|(sample, factor)| sample.iter().map(|v| v * factor).collect()).collect()
        }
    }

    #[derive(serde::Deserialize)]
    struct Rescaled {
        with: Vec<Vec<f64>>,
        without: Vec<Vec<f64>>,
        scale: f64,
        parts: Vec<(f64, Vec<Vec<f64>>)>,
    }

    #[derive(serde::Deserialize)]
    struct Parity {
        rescaled: Rescaled,
    }

    #[test]
    fn contrast_is_brought_back_as_diffusers_does() {
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parity/flow.json"));
        let Rescaled { with, without, scale, parts } = serde_json::from_str::<Parity>(file).unwrap().rescaled;
        assert!(parts.len() >= 3);
        for (part, expected) in parts {
            let found = guide_rescaled(&with, &without, scale, part);
            let pairs = found.iter().flatten().zip(expected.iter().flatten());
            assert!(pairs.clone().count() == 10 && pairs.into_iter().all(|(a, b)| close(*a, *b)), "{part}: {found:?} is not {expected:?}");
        }
        let flat = vec![vec![2.0, 2.0]];
        assert_eq!(guide_rescaled(&flat, &vec![vec![1.0, 1.0]], 3.0, 0.7), [[4.0, 4.0]], "there is no contrast to bring back");
    }

    proptest! {
        /// For clean `c` and noise `n`: the network sees `(c + σn)/√(1+σ²)`; noise is `n`, and velocity is
        /// `(n − σc)/√(1+σ²)`. In flow matching it sees `(1 − σ)c + σn`, and velocity is `n − c`.
        #[test]
        fn a_perfect_network_gives_the_picture_back(c in -3.0..3.0_f64, n in -3.0..3.0_f64, sigma in 0.01..20.0_f64) {
            let x = vec![c + sigma * n];
            let velocity = (n - sigma * c) * Prediction::V.input_scale(sigma);
            prop_assert!((Prediction::Epsilon.denoised(&x, &vec![n], sigma)[0] - c).abs() < 1e-9);
            prop_assert!((Prediction::V.denoised(&x, &vec![velocity], sigma)[0] - c).abs() < 1e-9);
            let part = sigma / 20.0;
            let mixed = vec![(1.0 - part) * c + part * n];
            prop_assert!((Prediction::Flow.denoised(&mixed, &vec![n - c], part)[0] - c).abs() < 1e-9);
            prop_assert!(close(Prediction::Flow.input_scale(part), 1.0));
        }
    }
}
