//! The feed-forward of language models: two products, one of them the other's gate, and a third that leads back.
//!
//! Source: "GLU Variants Improve Transformer", Shazeer, 2020.

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::{Linear, RmsNorm};
use crate::engine::residency::Residency;
use crate::units::BlockIndex;

/// `x + down(activation(gate(norm(x))) · up(norm(x)))`.
#[derive(Debug)]
pub struct GatedForward {
    /// The block that holds all of it.
    pub block: BlockIndex,
    /// What the stream passes first.
    pub norm: RmsNorm,
    /// Makes the gate, before its activation.
    pub gate: Linear,
    /// Makes what is gated.
    pub up: Linear,
    /// Leads back to the stream.
    pub down: Linear,
}

impl GatedForward {
    /// `x [B, L, C]` to the same shape, in its type.
    pub fn forward(&self, residency: &Residency, x: &Tensor, activation: impl FnOnce(Tensor) -> Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        let h = self.norm.forward(&held, x);
        let h = activation(self.gate.exact(&held, &h)) * self.up.exact(&held, &h);
        Ok(x + self.down.exact(&held, &h))
    }
}
