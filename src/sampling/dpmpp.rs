//! DPM-Solver++ in the logarithm of signal to noise, λ = ln(α/σ). Lu et al. 2022, "DPM-Solver++",
//! algorithms 1 and 2 and their stochastic forms, as k-diffusion writes them; for flow matching as
//! ComfyUI's `comfy/k_diffusion/sampling.py` does.
//!
//! With `h = λ' − λ` every `e^{−h}` is a quotient of levels here.

use super::noising::Noising;
use super::solver::{Ancestral, Field, Linear, Step, steps, towards};

/// The clean estimate of the step before, and the length of that step in λ.
struct Last<V> {
    denoised: V,
    h: f64,
}

/// Second order from two neighbouring estimates: `dpmpp_2m`. Its λ is −ln σ for flow matching, too.
pub(super) fn multistep<V: Linear, F: Field<V>>(sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let mut last: Option<Last<V>> = None;
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let kept = step.kept();
        let h = -kept.ln();
        x = match &last {
            Some(last) if !step.is_last() => {
                // The estimate extrapolated to the middle of this step.
                let lean = h / (2.0 * last.h);
                let new = 1.0 - kept;
                V::sum(&[(kept, &x), (new * (1.0 + lean), &denoised), (-new * lean, &last.denoised)])
            }
            Some(_) | None => towards(&denoised, &x, kept),
        };
        field.finished_step(step.index, &x, &denoised)?;
        last = Some(Last { denoised, h });
    }
    Ok(x)
}

/// Second order from a look at the middle, and noise put back: `dpmpp_2s_ancestral`.
pub(super) fn singlestep_ancestral<V: Linear, F: Field<V>>(
    noising: Noising,
    sigmas: &[f64],
    mut x: V,
    field: &mut F,
) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let mut denoised = field.denoise(&x, step.from)?;
        let split = Ancestral::split(noising, step.from, step.to);
        if !step.is_last() {
            let middle = noising.middle(step.from, split.down);
            let halfway = towards(&denoised, &x, middle / step.from);
            denoised = field.denoise(&halfway, middle)?;
        }
        x = towards(&denoised, &x, split.down / step.from);
        if !step.is_last() {
            let noise = field.noise(step.from, step.to)?;
            x = V::sum(&[(split.scale, &x), (split.up, &noise)]);
        }
        field.finished_step(step.index, &x, &denoised)?;
    }
    Ok(x)
}

/// One step of the stochastic equation with η = 1: `kept·x + new·D + noise·ε`, and its length in λ.
///
/// `kept = σ'/σ·e^{−h}`, `new = α'·(1 − e^{−2h})`, `noise = σ'·√(1 − e^{−2h})`: of `e^{−2h}` one half is the
/// way down, and the other makes room for the noise.
#[derive(Clone, Copy)]
struct Stochastic {
    kept: f64,
    new: f64,
    noise: f64,
    h: f64,
}

impl Stochastic {
    fn new(noising: Noising, from: f64, to: f64) -> Self {
        let quotient = noising.kept(from, to);
        let gone = 1.0 - quotient * quotient;
        Self { kept: to / from * quotient, new: noising.signal(to) * gone, noise: to * gone.sqrt(), h: -quotient.ln() }
    }

    fn walk<V: Linear>(self, x: &V, denoised: &V, noise: &V) -> V {
        V::sum(&[(self.kept, x), (self.new, denoised), (self.noise, noise)])
    }
}

/// The same as [`multistep`] for the stochastic equation, with the midpoint rule: `dpmpp_2m_sde`.
pub(super) fn multistep_sde<V: Linear, F: Field<V>>(noising: Noising, sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let mut last: Option<Last<V>> = None;
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let part = Stochastic::new(noising, step.from, step.to);
        if step.is_last() {
            x = denoised.clone();
        } else {
            let noise = field.noise(step.from, step.to)?;
            x = match &last {
                Some(last) => {
                    let lean = part.h / (2.0 * last.h);
                    V::sum(&[
                        (part.kept, &x),
                        (part.new * (1.0 + lean), &denoised),
                        (-part.new * lean, &last.denoised),
                        (part.noise, &noise),
                    ])
                }
                None => part.walk(&x, &denoised, &noise),
            };
        }
        field.finished_step(step.index, &x, &denoised)?;
        last = Some(Last { denoised, h: part.h });
    }
    Ok(x)
}

/// The same of third order, from three neighbouring estimates: `dpmpp_3m_sde`, as k-diffusion has it.
pub(super) fn third_order_sde<V: Linear, F: Field<V>>(noising: Noising, sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    let mut last: Option<Last<V>> = None;
    let mut before: Option<Last<V>> = None;
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let part = Stochastic::new(noising, step.from, step.to);
        if step.is_last() {
            x = denoised.clone();
        } else {
            let noise = field.noise(step.from, step.to)?;
            let mut terms = vec![(part.kept, &x), (part.new, &denoised), (part.noise, &noise)];
            if let Some(last) = &last {
                // φ₂ and φ₃ of the exponential integrator at 2h, on first and second differences.
                let twice = 2.0 * part.h;
                let second = (-twice).exp_m1() / twice + 1.0;
                let third = second / twice - 0.5;
                let signal = noising.signal(step.to);
                let r0 = last.h / part.h;
                let bend = before.as_ref().map(|before| {
                    let r1 = before.h / part.h;
                    (signal * (r0 * second - third) / (r0 + r1), r1, &before.denoised)
                });
                let slope = (signal * second + bend.map_or(0.0, |(bend, _, _)| bend)) / r0;
                terms.extend([(slope, &denoised), (-slope, &last.denoised)]);
                if let Some((bend, r1, oldest)) = bend {
                    terms.extend([(-bend / r1, &last.denoised), (bend / r1, oldest)]);
                }
            }
            x = V::sum(&terms);
        }
        field.finished_step(step.index, &x, &denoised)?;
        before = last.replace(Last { denoised, h: part.h });
    }
    Ok(x)
}

/// The stochastic equation with a look at the middle of each step: `dpmpp_sde`, r = ½, η = 1.
///
/// k-diffusion writes each half as an ancestral step; with η = 1 that is the same walk.
pub(super) fn singlestep_sde<V: Linear, F: Field<V>>(noising: Noising, sigmas: &[f64], mut x: V, field: &mut F) -> Result<V, F::Error> {
    for step in steps(sigmas) {
        let denoised = field.denoise(&x, step.from)?;
        let (used, next) = if step.is_last() { (denoised.clone(), denoised) } else { through_middle(noising, step, &x, &denoised, field)? };
        x = next;
        field.finished_step(step.index, &x, &used)?;
    }
    Ok(x)
}

/// Returns the estimate in the middle of a step, and `x` at its end.
fn through_middle<V: Linear, F: Field<V>>(noising: Noising, step: Step, x: &V, denoised: &V, field: &mut F) -> Result<(V, V), F::Error> {
    let middle = noising.middle(step.from, step.to);
    let noise = field.noise(step.from, middle)?;
    let halfway = Stochastic::new(noising, step.from, middle).walk(x, denoised, &noise);
    let denoised = field.denoise(&halfway, middle)?;
    let noise = field.noise(step.from, step.to)?;
    let end = Stochastic::new(noising, step.from, step.to).walk(x, &denoised, &noise);
    Ok((denoised, end))
}
