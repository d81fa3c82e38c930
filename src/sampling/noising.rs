//! How a picture and its noise stand together at a level: added, or mixed.

/// What `x` of level `σ` is made of. With `α` the part of the picture in it, `x = α·x₀ + σ·n`.
///
/// Solvers of the stochastic equation walk in `λ = ln(α/σ)`. Every `e^{−h}` with `h = λ' − λ` is the
/// quotient `Noising::kept`, so that nothing is lost between logarithms and exponentials, and a walk
/// may start at pure noise, where `λ` is −∞.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Noising {
    /// `x = x₀ + σ·n`: models that predict noise or the velocity of diffusion.
    #[default]
    Added,
    /// `x = (1 − σ)·x₀ + σ·n`: flow matching. Lipman et al. 2023; Liu et al. 2023, "Flow Straight and Fast".
    Mixed,
}

/// The middle of a step that starts at pure noise. ComfyUI `comfy/k_diffusion/sampling.py`, `sample_dpmpp_2s_ancestral_RF`.
const NEARLY_NOISE: f64 = 0.9999;

impl Noising {
    /// Returns `α`, the part of the picture in `x` of level `sigma`.
    #[must_use]
    pub fn signal(self, sigma: f64) -> f64 {
        match self {
            Self::Added => 1.0,
            Self::Mixed => 1.0 - sigma,
        }
    }

    /// Returns `e^{−h}`: how much smaller the noise is against the picture at `to` than at `from`.
    pub(super) fn kept(self, from: f64, to: f64) -> f64 {
        (to / from) * (self.signal(from) / self.signal(to))
    }

    /// Returns the level whose λ lies in the middle.
    pub(super) fn middle(self, from: f64, to: f64) -> f64 {
        match self {
            Self::Added => (from * to).sqrt(),
            Self::Mixed if from >= 1.0 => NEARLY_NOISE,
            Self::Mixed => {
                let against_picture = ((from / (1.0 - from)) * (to / (1.0 - to))).sqrt();
                against_picture / (1.0 + against_picture)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lambda(noising: Noising, sigma: f64) -> f64 {
        (noising.signal(sigma) / sigma).ln()
    }

    proptest! {
        #[test]
        fn quotients_are_exponentials_and_middles_are_means(from in 0.02..0.999_f64, part in 0.01..0.999_f64) {
            let to = from * part;
            for noising in [Noising::Added, Noising::Mixed] {
                let h = lambda(noising, to) - lambda(noising, from);
                prop_assert!((noising.kept(from, to) - (-h).exp()).abs() < 1e-12);
                let middle = noising.middle(from, to);
                prop_assert!(to < middle && middle < from);
                prop_assert!((lambda(noising, middle) - lambda(noising, from) - h / 2.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn pure_noise_keeps_nothing() {
        assert!(Noising::Mixed.kept(1.0, 0.5).abs() < f64::EPSILON);
        assert!((Noising::Mixed.middle(1.0, 0.5) - NEARLY_NOISE).abs() < f64::EPSILON);
    }
}
