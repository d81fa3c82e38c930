//! Two looks a step. Heun's method: a step, a look at where it leads, and the mean of both slopes. Karras
//! et al. 2022, algorithm 1 without noise. And the slope of the middle: Lu et al. 2022, "DPM-Solver",
//! algorithm 1, as k-diffusion's `dpm_2` has it.

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

/// The whole step with the slope found in its middle, in the logarithm of noise; one call in the last step.
pub(super) fn middle<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        if step.is_last() {
            x = towards(&denoised, &x, step.kept());
            field.finished_step(step.index, &x, &denoised)?;
            continue;
        }
        let middle = (step.from * step.to).sqrt();
        let halfway = towards(&denoised, &x, middle / step.from);
        let denoised_halfway = field.denoise(&halfway, middle)?;
        // x + (σ' − σ)·(x₂ − D₂)/σ_mid.
        let slope = (step.to - step.from) / middle;
        x = V::sum(&[(1.0, &x), (slope, &halfway), (-slope, &denoised_halfway)]);
        field.finished_step(step.index, &x, &denoised_halfway)?;
    }
    Ok(x)
}
