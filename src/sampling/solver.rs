//! What a solver needs of the world, and the door to all of them.
//!
//! A solver asks its [`Field`] for the clean picture that a noisy one hides and for noise, and mixes
//! what it gets with [`Linear::sum`]. It knows nothing of tensors, devices, guidance or threads.
//!
//! Whether noise is added to the picture or mixed with it ([`Noising`]) matters to those solvers alone
//! that put noise back or walk in λ; straight lines between `x` and its clean estimate are the same in
//! both. Step by step, with `D` the field's answer and `σ → σ'` the interval:
//!
//! ```text
//! sigmas   σ₀ ─────── σ₁ ─────── σ₂ ── … ── 0
//!              step 0     step 1
//!          denoise(x, σ₀) … x at σ₁, finished_step(0, x, D)
//! ```

use super::method::Sampler;
use super::noising::Noising;
use super::{dpmpp, euler, heun, lcm, unipc};

/// Something that can be added and scaled: a latent, or a few numbers in a test.
pub trait Linear: Clone {
    /// Returns `Σ weight · value`. There is at least one term, and all values have one shape.
    fn sum(terms: &[(f64, &Self)]) -> Self;
}

/// The world of a solver.
pub trait Field<V> {
    /// Why a run stops early.
    type Error;

    /// Returns the estimate of the clean picture in `x`, which carries noise of level `sigma`.
    fn denoise(&mut self, x: &V, sigma: f64) -> Result<V, Self::Error>;

    /// Returns noise of unit variance for the interval between two levels.
    ///
    /// Intervals never overlap, but for `dpmpp_sde`: each of its steps asks for `(σ, σ_mid)` and then
    /// for `(σ, σ')`. Both are stretches of one Brownian motion, so they belong together; a field that
    /// draws its noise passes it through [`Brownian`](super::Brownian), and a test need not.
    fn noise(&mut self, from: f64, to: f64) -> Result<V, Self::Error>;

    /// Hears that step number `step`, from 0, is done: `x` is at the next level, and `denoised` is the
    /// newest estimate of the clean picture. This is the place to show a preview, to pause, or to stop
    /// the run with an error. (`uni_pc` still corrects this `x` when the next estimate is there.)
    fn finished_step(&mut self, step: usize, x: &V, denoised: &V) -> Result<(), Self::Error>;
}

/// Walks `x` down the levels of `sigmas` and returns where it ends.
///
/// `sigmas` descend strictly, are positive but for a 0 at the end, and come from a
/// [`Course`](super::Course) for the same sampler and the table whose `noising` this is; where noise is mixed, none is above 1. With fewer than two of them `x` comes back as it is.
/// At the end `x` is clean, but for `uni_pc`, which stops at 0.001 as ComfyUI's does.
pub fn solve<V: Linear, F: Field<V>>(sampler: Sampler, noising: Noising, sigmas: &[f64], x: V, field: &mut F) -> Result<V, F::Error> {
    match sampler {
        Sampler::Euler | Sampler::Ddim => euler::plain(sigmas, x, field),
        Sampler::EulerAncestral => euler::ancestral(noising, sigmas, x, field),
        Sampler::Heun => heun::heun(sigmas, x, field),
        Sampler::Dpm2 => heun::middle(sigmas, x, field),
        Sampler::Dpmpp2sAncestral => dpmpp::singlestep_ancestral(noising, sigmas, x, field),
        Sampler::Dpmpp2m => dpmpp::multistep(sigmas, x, field),
        Sampler::Dpmpp2mSde => dpmpp::multistep_sde(noising, sigmas, x, field),
        Sampler::Dpmpp3mSde => dpmpp::third_order_sde(noising, sigmas, x, field),
        Sampler::DpmppSde => dpmpp::singlestep_sde(noising, sigmas, x, field),
        Sampler::Lcm => lcm::lcm(noising, sigmas, x, field),
        Sampler::UniPc => unipc::unipc(sigmas, x, field),
    }
}

/// One interval of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Its number, from 0.
    pub(super) index: usize,
    /// The level it starts from.
    pub(super) from: f64,
    /// The level it ends at.
    pub(super) to: f64,
}

impl Step {
    /// Returns whether the step ends without noise.
    pub(super) fn is_last(self) -> bool {
        self.to <= 0.0
    }

    /// Returns `σ' / σ`, the part of the noise that stays.
    pub(super) fn kept(self) -> f64 {
        self.to / self.from
    }
}

/// Returns the intervals between neighbours of `sigmas`.
pub(super) fn steps(sigmas: &[f64]) -> impl Iterator<Item = Step> {
    sigmas.windows(2).enumerate().map(|(index, pair)| Step { index, from: pair[0], to: pair[1] })
}

/// Returns `x` carried along the straight line through its clean estimate until `kept` of its noise is left.
pub(super) fn towards<V: Linear>(denoised: &V, x: &V, kept: f64) -> V {
    V::sum(&[(kept, x), (1.0 - kept, denoised)])
}

/// How a stochastic step splits its new level: it walks down to `down`, scales by `scale`, adds noise of
/// level `up`, and that makes the level that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ancestral {
    /// The level walked down to.
    pub(super) down: f64,
    /// The factor on what was walked down, so that picture and noise make 1 again where they are mixed.
    pub(super) scale: f64,
    /// The level of the noise put back.
    pub(super) up: f64,
}

impl Ancestral {
    /// Returns the split that puts back as much noise as a Markov chain would (η = 1).
    ///
    /// Where noise is mixed, `down` is ComfyUI's `sample_euler_ancestral_RF`.
    pub(super) fn split(noising: Noising, from: f64, to: f64) -> Self {
        // For noise that is added, `up² = to²·(from² − to²)/from²` and `down² = to² − up²`, written
        // without the difference of near numbers.
        let kept = to / from;
        let down = to * kept;
        let scale = noising.signal(to) / noising.signal(down);
        let left = kept * scale;
        Self { down, scale, up: to * (1.0 - left * left).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::toy::Toy;

    const BOTH: [Noising; 2] = [Noising::Added, Noising::Mixed];

    fn each() -> impl Iterator<Item = (Noising, Sampler)> {
        BOTH.into_iter().flat_map(|noising| Sampler::ALL.iter().map(move |s| (noising, *s)))
    }

    #[test]
    fn nothing_happens_without_an_interval() {
        for (noising, sampler) in each() {
            for sigmas in [&[][..], &[0.9][..], &[0.0][..]] {
                let mut toy = Toy::comfyui();
                assert_eq!(solve(sampler, noising, sigmas, vec![1.0, 2.0], &mut toy), Ok(vec![1.0, 2.0]));
                assert!(toy.calls.is_empty() && toy.finished.is_empty());
            }
        }
    }

    #[test]
    fn one_step_to_nothing_is_the_clean_estimate() {
        for (noising, sampler) in each() {
            let mut toy = Toy::comfyui();
            let end = solve(sampler, noising, &[1.0, 0.0], vec![1.0, -2.0], &mut toy).unwrap();
            let clean = Toy::comfyui().denoise(&vec![1.0, -2.0], 1.0).unwrap();
            assert!(end.iter().zip(&clean).all(|(a, b)| (a - b).abs() < 1e-12), "{sampler}: {end:?} is not {clean:?}");
        }
    }

    #[test]
    fn a_run_stops_at_the_border_where_it_is_told_to() {
        let sigmas = [0.9, 0.5, 0.2, 0.1, 0.0];
        for (noising, sampler) in each() {
            let mut toy = Toy::comfyui();
            toy.stop_after = Some(1);
            assert_eq!(solve(sampler, noising, &sigmas, vec![1.0], &mut toy), Err("told to stop"), "{sampler}");
            assert_eq!(toy.finished, [0, 1], "{sampler}");
        }
    }

    #[test]
    fn every_step_is_reported_once_and_in_order() {
        let sigmas = [0.9, 0.5, 0.2, 0.1, 0.0];
        for (noising, sampler) in each() {
            let mut toy = Toy::comfyui();
            solve(sampler, noising, &sigmas, vec![1.0], &mut toy).unwrap();
            assert_eq!(toy.finished, [0, 1, 2, 3], "{sampler}");
        }
    }

    proptest! {
        #[test]
        fn the_ancestral_split_makes_the_level_asked_for(from in 1e-3..100.0_f64, part in 0.0..1.0_f64) {
            for (noising, from) in [(Noising::Added, from), (Noising::Mixed, from / 100.0)] {
                let to = from * part;
                let split = Ancestral::split(noising, from, to);
                prop_assert!(((split.scale * split.down).hypot(split.up) - to).abs() <= 1e-12 * from);
                prop_assert!((split.scale * noising.signal(split.down) - noising.signal(to)).abs() <= 1e-12, "the picture's part");
                prop_assert!(split.down >= 0.0 && split.up >= 0.0 && split.down <= to);
            }
        }

        #[test]
        fn no_solver_makes_up_numbers(n in 1usize..12, top in 0.5..20.0_f64, x in -50.0..50.0_f64) {
            let mut sigmas: Vec<f64> = (0..n).map(|i| top / (i as f64 + 1.0)).collect();
            sigmas.push(0.0);
            for (noising, sampler) in each() {
                // Where noise is mixed, every run starts at pure noise.
                let scale = if noising == Noising::Mixed { sigmas[0].recip() } else { 1.0 };
                let sigmas: Vec<f64> = sigmas.iter().map(|s| s * scale).collect();
                let end = solve(sampler, noising, &sigmas, vec![x], &mut Toy::comfyui()).unwrap();
                prop_assert!(end[0].is_finite(), "{} {:?}", sampler, end);
            }
        }
    }
}
