//! Two-dimensional convolutions.

use tch::Tensor;

use super::wide::in_kind;
use super::{Scope, WeightRef};
use crate::engine::residency::Held;
use crate::families::FamilyError;

/// A convolution with bias, as torch's `nn.Conv2d`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: WeightRef,
    bias: WeightRef,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// A 3 × 3 convolution that keeps the size.
    pub fn same(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Self::new(scope, 1, 1)
    }

    /// A 1 × 1 convolution.
    pub fn pointwise(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Self::new(scope, 1, 0)
    }

    /// A convolution of the given stride and padding.
    pub fn new(scope: &Scope<'_>, stride: i64, padding: i64) -> Result<Self, FamilyError> {
        Ok(Self { weight: scope.weight("weight")?, bias: scope.weight("bias")?, stride, padding })
    }

    /// `x [B, in, H, W]` to `[B, out, H', W']`, in the weights' type.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let weight = held.tensor(self.weight);
        self.product(&in_kind(x, weight.kind()), &weight, &held.tensor(self.bias))
    }

    /// The same in `x`'s type, for which the weights are converted: for small layers that the whole stream passes.
    pub fn exact(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let wanted = |at| in_kind(&held.tensor(at), x.kind());
        self.product(x, &wanted(self.weight), &wanted(self.bias))
    }

    /// Returns how many channels it makes.
    #[must_use]
    pub fn channels(&self, held: &Held<'_>) -> i64 {
        held.tensor(self.weight).size()[0]
    }

    fn product(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        x.conv2d(weight, Some(bias), [self.stride; 2], [self.padding; 2], [1, 1], 1)
    }
}
