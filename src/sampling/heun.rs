//! Heun's method: a step, a look at where it leads, and the mean of both slopes. Karras et al. 2022,
//! algorithm 1 without noise.

use super::solver::{Field, Linear, steps, towards};

/// Two calls of the denoiser a step, one in the last.
pub(super) fn heun<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let ahead = towards(&denoised, &x, step.kept());
        if step.is_last() {
            x = ahead;
            field.finished_step(step.index, &x, &denoised)?;
            continue;
        }
        let denoised_ahead = field.denoise(&ahead, step.to)?;
        // x + (σ' − σ)·½·((x − D)/σ + (x₂ − D₂)/σ').
        let here = (step.to - step.from) / (2.0 * step.from);
        let there = (step.to - step.from) / (2.0 * step.to);
        x = V::sum(&[(1.0 + here, &x), (-here, &denoised), (there, &ahead), (-there, &denoised_ahead)]);
        field.finished_step(step.index, &x, &denoised_ahead)?;
    }
    Ok(x)
}
