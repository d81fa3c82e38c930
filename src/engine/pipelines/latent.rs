//! A latent as solvers see it.

use tch::{Device, Kind, Tensor};

use crate::sampling::guidance::Spread;
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

impl Spread for Latent {
    fn deviations(&self) -> Vec<f64> {
        let all = self.0.flatten(1, -1).std_dim(&[1i64][..], true, false).to_kind(Kind::Double).to_device(Device::Cpu);
        Vec::try_from(all).unwrap_or_default()
    }

    fn times(&self, factors: &[f64]) -> Self {
        let factors = Tensor::from_slice(factors).to_kind(Kind::Float).to_device(self.0.device());
        Self(&self.0 * factors.view([-1, 1, 1, 1]))
    }
}
