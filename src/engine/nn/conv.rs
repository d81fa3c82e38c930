//! Two-dimensional convolutions.

use tch::Tensor;

use super::product::{is_plain, product};
use super::wide::{in_kind, of_product};
use super::{Scope, WeightRef};
use crate::engine::residency::Held;
use crate::families::FamilyError;

/// A convolution has few cells where a kernel more than so many would fall to each.
const CELLS: i64 = 8;

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

    /// `x [B, in, H, W]` to `[B, out, H', W']`, in the weights' type, or in a wider one where they are few and the map is small.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let size = x.size();
        let kind = of_product(held.kind_and_size(self.weight), size[2] * size[3] / (self.stride * self.stride));
        self.exact(held, &in_kind(x, kind))
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
        convolve(x, weight, Some(bias), self.stride, self.padding)
    }
}

/// `x [B, in, H, W]` and kernels `[out, in, K, K]` to `[B, out, H', W']`.
pub fn convolve(x: &Tensor, kernels: &Tensor, bias: Option<&Tensor>, stride: i64, padding: i64) -> Tensor {
    let (of, kernel) = (x.size(), kernels.size());
    let after = |extent: i64| (extent + 2 * padding - kernel[2]) / stride + 1;
    let (batch, out, side, high, wide) = (of[0], kernel[0], kernel[2], after(of[2]), after(of[3]));
    // Kernels are put into another order for a convolution, each time. Where they are many and cells few, that takes longer than
    // to write each cell's surroundings out and to multiply: on the processor the deep blocks of a UNet take a tenth to a half so.
    if !is_plain(x, kernels) || side == 1 || batch * high * wide * CELLS > out {
        return x.conv2d(kernels, bias, [stride; 2], [padding; 2], [1, 1], 1);
    }
    let around = x.im2col([side; 2], [1, 1], [padding; 2], [stride; 2]).transpose(1, 2);
    product(&around, &kernels.flatten(1, -1), bias).transpose(1, 2).reshape([batch, out, high, wide]).contiguous()
}
