//! A matrix and a bias.

use tch::{Kind, Tensor};

use super::wide::in_kind;
use super::{Scope, WeightRef, product};
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
        product(&in_kind(x, weight.kind()), &weight, self.bias.map(|b| held.tensor(b)).as_deref())
    }

    /// The same in `x`'s type, for which the weights are converted: for layers that a run uses once.
    pub fn exact(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let bias = self.bias.map(|b| in_kind(&held.tensor(b), x.kind()));
        product(x, &in_kind(&held.matrix(self.weight), x.kind()), bias.as_ref())
    }

    /// Returns the weights' type.
    #[must_use]
    pub fn kind(&self, held: &Held<'_>) -> Kind {
        held.tensor(self.weight).kind()
    }
}
