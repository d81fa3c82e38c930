//! Two-dimensional convolutions.

use tch::Tensor;

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
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        x.conv2d(held.tensor(self.weight), Some(held.tensor(self.bias)), stride, padding, [1, 1], 1)
    }
}
