//! Normalisations.

use tch::{Device, Kind, Tensor};

use super::wide::in_kind;
use super::{Moments, Scope, WeightRef};
use crate::engine::residency::Held;
use crate::families::FamilyError;

/// Normalises 32 groups of channels, as torch's `nn.GroupNorm`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: WeightRef,
    bias: WeightRef,
    eps: f64,
}

impl GroupNorm {
    /// Groups of every Stable Diffusion network.
    pub(super) const GROUPS: i64 = 32;

    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>, eps: f64) -> Result<Self, FamilyError> {
        Ok(Self { weight: scope.weight("weight")?, bias: scope.weight("bias")?, eps })
    }

    /// `x [B, C, ..]` to the same shape, in its type.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let wanted = |at| in_kind(&held.tensor(at), x.kind());
        x.group_norm(Self::GROUPS, Some(wanted(self.weight)), Some(wanted(self.bias)), self.eps, true)
    }

    /// The same of a part of a map, `x [B, C, H, W]`, by the moments of the whole; computed in fp32 whatever the type of `x` is.
    pub fn forward_part(&self, held: &Held<'_>, x: &Tensor, whole: &Moments) -> Tensor {
        let wanted = |at| held.tensor(at).to_device(Device::Cpu).to_kind(Kind::Double).view([1, -1, 1, 1]);
        let (scale, shift) = whole.scale_and_shift(x.size()[1], self.eps);
        let (weight, bias) = (wanted(self.weight), wanted(self.bias));
        let there = |t: Tensor| t.to_kind(Kind::Float).to_device(x.device());
        let (scale, shift) = (there(scale * &weight), there(shift * weight + bias));
        shift.addcmul(&x.to_kind(Kind::Float), &scale).to_kind(x.kind())
    }
}

/// Normalises the last axis, as torch's `nn.LayerNorm`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: WeightRef,
    bias: WeightRef,
    eps: f64,
}

impl LayerNorm {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>, eps: f64) -> Result<Self, FamilyError> {
        Ok(Self { weight: scope.weight("weight")?, bias: scope.weight("bias")?, eps })
    }

    /// `x [.., C]` to the same shape, in its type.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let wanted = |at| in_kind(&held.tensor(at), x.kind());
        let weight = wanted(self.weight);
        x.layer_norm(weight.size(), Some(&weight), Some(&wanted(self.bias)), self.eps, true)
    }
}

/// Divides the last axis by its root mean square: `x / √(mean(x²) + eps) · weight`, as T5's and Llama's norms.
///
/// Source: "Root Mean Square Layer Normalization", Zhang and Sennrich, 2019. Computed in fp32 whatever the type of `x` is.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: WeightRef,
    eps: f64,
}

impl RmsNorm {
    /// Finds the layer's weight, which files call `weight` or `scale`.
    pub fn new(scope: &Scope<'_>, eps: f64) -> Result<Self, FamilyError> {
        let name = if scope.has("scale") { "scale" } else { "weight" };
        Ok(Self { weight: scope.weight(name)?, eps })
    }

    /// `x [.., C]` to the same shape, in its type.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        let wide = x.to_kind(Kind::Float);
        let mean = (&wide * &wide).mean_dim(&[-1i64][..], true, Kind::Float);
        let normed = wide * (mean + self.eps).rsqrt();
        (normed * held.tensor(self.weight).to_kind(Kind::Float)).to_kind(x.kind())
    }
}
