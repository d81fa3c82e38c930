//! A diffusion network of any family.

use tch::Tensor;

use super::unet::Unet;
use crate::engine::EngineError;
use crate::engine::residency::Residency;
use crate::families::{DenoiserConfig, FamilyError};
use crate::weights::BlockTable;

/// What a network is asked in one pass.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Noisy latents, `[B, C, h, w]` in the type of the stream.
    pub x: &'a Tensor,
    /// The time: 0…999 for a UNet.
    pub time: f64,
    /// The text, `[B, L, ctx]`.
    pub context: &'a Tensor,
    /// What is said of the picture as a whole, `[B, V]`, to networks that listen to it.
    pub vector: Option<&'a Tensor>,
}

impl<'a> Pass<'a> {
    /// Returns a pass of a network that reads text and nothing else.
    #[must_use]
    pub fn of_text(x: &'a Tensor, time: f64, context: &'a Tensor) -> Self {
        Self { x, time, context, vector: None }
    }
}

/// The structure of a diffusion network.
#[derive(Debug)]
pub enum DenoiserModel {
    /// Stable Diffusion 1, 2 and XL.
    Unet(Unet),
}

impl DenoiserModel {
    /// Finds the network's weights.
    pub fn new(config: &DenoiserConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        match config {
            DenoiserConfig::Unet(unet) => Unet::new(unet, table).map(Self::Unet),
        }
    }

    /// Returns what the network answers: noise or velocity, `[B, C, h, w]` in `x`'s type.
    pub fn forward(&self, residency: &Residency, pass: Pass<'_>) -> Result<Tensor, EngineError> {
        match self {
            Self::Unet(unet) => unet.forward(residency, pass),
        }
    }
}
