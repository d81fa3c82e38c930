//! Around the network: what goes in, what its output means, and how two outputs become one.
//!
//! The sampler's `x` is the picture plus `σ` of noise. The network was trained on the same thing
//! scaled to unit variance, is told a time instead of a level, and answers with noise or velocity.

use super::method::Prediction;
use super::solver::Linear;

/// Returns the factor from the sampler's `x` to the network's input: `1/√(σ² + 1)`.
#[must_use]
pub fn input_scale(sigma: f64) -> f64 {
    1.0 / (sigma * sigma + 1.0).sqrt()
}

impl Prediction {
    /// Returns the clean picture in `x` of level `sigma`, given what the network answered.
    ///
    /// | | |
    /// |---|---|
    /// | noise | `x − σ·o` |
    /// | velocity | `x/(σ² + 1) − σ·o/√(σ² + 1)` |
    #[must_use]
    pub fn denoised<V: Linear>(self, x: &V, output: &V, sigma: f64) -> V {
        match self {
            Self::Epsilon => V::sum(&[(1.0, x), (-sigma, output)]),
            Self::V => {
                let scale = input_scale(sigma);
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

/// How a run starts: `x = noise · scale + latent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartNoise {
    /// The factor on the unit noise.
    pub scale: f64,
}

impl StartNoise {
    /// Relative distance from the highest level at which a run still counts as starting from noise only.
    const CLOSE: f64 = 1e-5;

    /// Returns the start of a run whose first level is `first` on a table that ends at `highest`.
    ///
    /// From the highest level on, the network's input is meant to have unit variance, as pure noise of
    /// training had: `√(1 + σ²)`. Below, the noise goes on top of a picture that has its own: `σ`.
    #[must_use]
    pub fn at(first: f64, highest: f64) -> Self {
        let close = (first - highest).abs() <= Self::CLOSE * first.max(highest);
        let scale = if close || first > highest { first.hypot(1.0) } else { first };
        Self { scale }
    }

    /// Returns the noisy start for unit `noise` on a `latent`, which is zeros where there is no picture yet.
    #[must_use]
    pub fn mix<V: Linear>(self, noise: &V, latent: &V) -> V {
        V::sum(&[(self.scale, noise), (1.0, latent)])
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
        let highest = NoiseTable::stable_diffusion().max();
        assert!(close(StartNoise::at(highest, highest).scale, (1.0 + highest * highest).sqrt()));
        // ComfyUI's single-precision highest level counts as the highest.
        assert!(StartNoise::at(14.614_640_2, highest).scale > 14.64);
        assert!(StartNoise::at(20.0, highest).scale > 20.0);
        assert!(close(StartNoise::at(14.6, highest).scale, 14.6));
        assert_eq!(StartNoise { scale: 2.0 }.mix(&vec![1.5], &vec![0.25]), [3.25]);
    }

    proptest! {
        /// For clean `c` and noise `n`: the network sees `(c + σn)/√(1+σ²)`; noise is `n`, and velocity is `(n − σc)/√(1+σ²)`.
        #[test]
        fn a_perfect_network_gives_the_picture_back(c in -3.0..3.0_f64, n in -3.0..3.0_f64, sigma in 0.01..20.0_f64) {
            let x = vec![c + sigma * n];
            let velocity = (n - sigma * c) * input_scale(sigma);
            prop_assert!((Prediction::Epsilon.denoised(&x, &vec![n], sigma)[0] - c).abs() < 1e-9);
            prop_assert!((Prediction::V.denoised(&x, &vec![velocity], sigma)[0] - c).abs() < 1e-9);
        }
    }
}
