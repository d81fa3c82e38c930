//! Euler's method, plain and ancestral. Formulas: Karras et al. 2022, algorithm 2 without churn, and
//! k-diffusion's ancestral variant.
//!
//! `ddim` without noise of its own is the same walk as plain Euler written for `x/√(1+σ²)`, and ends
//! at 0 as ComfyUI's does; diffusers' DDIM ends at the lowest level of training instead.

use super::noising::Noising;
use super::solver::{Ancestral, Field, Linear, steps, towards};

/// `x' = x + (x − D)/σ · (σ' − σ)`.
pub(super) fn plain<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        x = towards(&denoised, &x, step.kept());
        field.finished_step(step.index, &x, &denoised)?;
    }
    Ok(x)
}

/// The same down to a lower level, and noise up to the level asked for.
pub(super) fn ancestral<V: Linear, F: Field<V>>(noising: Noising, sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let split = Ancestral::split(noising, step.from, step.to);
        x = towards(&denoised, &x, split.down / step.from);
        if !step.is_last() {
            let noise = field.noise(step.from, step.to)?;
            x = V::sum(&[(split.scale, &x), (split.up, &noise)]);
        }
        field.finished_step(step.index, &x, &denoised)?;
    }
    Ok(x)
}
