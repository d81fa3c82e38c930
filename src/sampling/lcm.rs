//! Latent consistency models: each step jumps to the clean estimate and puts fresh noise on it.
//! Luo et al. 2023, algorithm 3.
//!
//! The boundary factors `c_skip` and `c_out` of diffusers' scheduler are left out, as in ComfyUI:
//! they differ from 0 and 1 only near time 0.

use super::noising::Noising;
use super::solver::{Field, Linear, steps};

/// `x' = α'·D + σ'·ε`.
pub(super) fn lcm<V: Linear, F: Field<V>>(noising: Noising, sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        x = if step.is_last() {
            denoised.clone()
        } else {
            let noise = field.noise(step.from, step.to)?;
            V::sum(&[(noising.signal(step.to), &denoised), (step.to, &noise)])
        };
        field.finished_step(step.index, &x, &denoised)?;
    }
    Ok(x)
}
