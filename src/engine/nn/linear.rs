//! A matrix and a bias.

use tch::{Kind, Tensor};

use super::wide::{in_kind, of_product};
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

    /// `x [B, .., in]` to `[B, .., out]`, in the type that it [`reads`](Self::reads).
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let size = x.size();
        let rows = size.iter().skip(1).rev().skip(1).product();
        self.product(held, x, self.reads(held, rows))
    }

    /// The same in `x`'s type, for which the weights are converted: for layers that a run uses once.
    pub fn exact(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        self.product(held, x, x.kind())
    }

    /// Returns the type in which it computes for so many rows of each picture: the weights', or a wider one where it is small.
    #[must_use]
    pub fn reads(&self, held: &Held<'_>, rows: i64) -> Kind {
        of_product(held.kind_and_size(self.weight), rows)
    }

    fn product(&self, held: &Held<'_>, x: &Tensor, kind: Kind) -> Tensor {
        let bias = self.bias.map(|b| in_kind(&held.tensor(b), kind));
        product(&in_kind(x, kind), &in_kind(&held.matrix(self.weight), kind), bias.as_ref())
    }
}
