//! A latent as solvers see it.

use tch::Tensor;

use crate::sampling::solver::Linear;

/// `[B, C, h, w]` in fp32 on the compute device. Never changed in place, so a clone shares memory.
#[derive(Debug)]
pub struct Latent(pub Tensor);

impl Clone for Latent {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Linear for Latent {
    fn sum(terms: &[(f64, &Self)]) -> Self {
        let mut scaled = terms.iter().map(|(weight, value)| &value.0 * *weight);
        let mut total = scaled.next().unwrap_or_default();
        for term in scaled {
            total += term;
        }
        Self(total)
    }
}
