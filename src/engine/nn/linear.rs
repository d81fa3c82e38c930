//! A matrix and a bias.

use tch::{Kind, Tensor};

use super::{Scope, WeightRef};
use crate::engine::residency::Held;
use crate::families::FamilyError;

/// `y = x Wᵀ + b`, as torch's `nn.Linear`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: WeightRef,
    bias: Option<WeightRef>,
}

impl Linear {
    /// Finds the layer's weights; a bias is used where there is one.
    pub fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        let bias = if scope.has("bias") { Some(scope.weight("bias")?) } else { None };
        Ok(Self { weight: scope.weight("weight")?, bias })
    }

    /// `x [.., in]` to `[.., out]`, in the weights' type.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let weight = held.matrix(self.weight);
        x.to_kind(weight.kind()).linear(&weight, self.bias.map(|b| held.tensor(b)).as_deref())
    }

    /// The same in `x`'s type, for which the weights are converted: for layers that a run uses once.
    pub fn exact(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        x.linear(&held.matrix(self.weight).to_kind(x.kind()), self.bias.map(|b| held.tensor(b).to_kind(x.kind())))
    }

    /// Returns the weights' type.
    #[must_use]
    pub fn kind(&self, held: &Held<'_>) -> Kind {
        held.tensor(self.weight).kind()
    }
}
