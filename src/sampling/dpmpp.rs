//! DPM-Solver++ in the logarithm of noise, λ = −ln σ. Lu et al. 2022, "DPM-Solver++", algorithms 1
//! and 2 and their stochastic forms, as k-diffusion writes them.
//!
//! With `h = λ' − λ` the factor `e^{−h}` is `σ'/σ`, so most exponentials are quotients here.

use super::solver::{Ancestral, Field, Linear, Step, steps, towards};

/// The clean estimate of the step before, and the length of that step in λ.
struct Last<V> {
    denoised: V,
    h: f64,
}

fn length(step: Step) -> f64 {
    (step.from / step.to).ln()
}

/// Second order from two neighbouring estimates: `dpmpp_2m`.
pub(super) fn multistep<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let mut last: Option<Last<V>> = None;
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let kept = step.kept();
        x = match &last {
            Some(last) if !step.is_last() => {
                // The estimate extrapolated to the middle of this step.
                let lean = length(step) / (2.0 * last.h);
                let new = 1.0 - kept;
                V::sum(&[(kept, &x), (new * (1.0 + lean), &denoised), (-new * lean, &last.denoised)])
            }
            Some(_) | None => towards(&denoised, &x, kept),
        };
        field.finished_step(step.index, &x, &denoised)?;
        last = Some(Last { denoised, h: length(step) });
    }
    Ok(x)
}

/// The same for the stochastic equation, with the midpoint rule and η = 1: `dpmpp_2m_sde`.
pub(super) fn multistep_sde<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let mut last: Option<Last<V>> = None;
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        if step.is_last() {
            x = denoised.clone();
        } else {
            // e^{−2h}: half of it is the way down, half makes room for the noise.
            let kept = step.kept() * step.kept();
            let new = 1.0 - kept;
            let noise = field.noise(step.from, step.to)?;
            let noise_level = step.to * new.sqrt();
            x = match &last {
                Some(last) => {
                    let lean = length(step) / (2.0 * last.h);
                    V::sum(&[(kept, &x), (new * (1.0 + lean), &denoised), (-new * lean, &last.denoised), (noise_level, &noise)])
                }
                None => V::sum(&[(kept, &x), (new, &denoised), (noise_level, &noise)]),
            };
        }
        field.finished_step(step.index, &x, &denoised)?;
        last = Some(Last { denoised, h: length(step) });
    }
    Ok(x)
}

/// The stochastic equation with a look at the middle of each step: `dpmpp_sde`, r = ½, η = 1.
pub(super) fn singlestep_sde<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        if step.is_last() {
            x = denoised.clone();
            field.finished_step(step.index, &x, &denoised)?;
            continue;
        }
        let middle = (step.from * step.to).sqrt();
        let first = Ancestral::split(step.from, middle);
        let noise = field.noise(step.from, middle)?;
        let halfway = stochastic(&x, &denoised, first, step.from, &noise);
        let denoised_halfway = field.denoise(&halfway, middle)?;

        let whole = Ancestral::split(step.from, step.to);
        let noise = field.noise(step.from, step.to)?;
        x = stochastic(&x, &denoised_halfway, whole, step.from, &noise);
        field.finished_step(step.index, &x, &denoised_halfway)?;
    }
    Ok(x)
}

/// Returns `x` walked from level `from` down to `split.down` with `split.up` of noise on top.
fn stochastic<V: Linear>(x: &V, denoised: &V, split: Ancestral, from: f64, noise: &V) -> V {
    let kept = split.down / from;
    V::sum(&[(kept, x), (1.0 - kept, denoised), (split.up, noise)])
}
