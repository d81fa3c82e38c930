//! A diffusion network of any family.

use tch::Tensor;

use super::transformer::{Conditions, Transformer};
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
    /// The time: 0…999 for a UNet, the share of noise in 0…1 for a transformer.
    pub time: f64,
    /// The text, `[B, L, ctx]`.
    pub context: &'a Tensor,
    /// What is said of the picture as a whole, `[B, V]`, to networks that listen to it.
    pub vector: Option<&'a Tensor>,
    /// How strongly to follow the text, to networks that were taught guidance.
    pub guidance: Option<f64>,
}

impl<'a> Pass<'a> {
    /// Returns a pass of a network that reads text and nothing else.
    #[must_use]
    pub fn of_text(x: &'a Tensor, time: f64, context: &'a Tensor) -> Self {
        Self { x, time, context, vector: None, guidance: None }
    }
}

/// The structure of a diffusion network.
#[derive(Debug)]
pub enum DenoiserModel {
    /// Stable Diffusion 1, 2 and XL.
    Unet(Box<Unet>),
    /// Stable Diffusion 3, Flux.1 and Z-Image.
    Transformer(Transformer),
}

impl DenoiserModel {
    /// Finds the network's weights.
    pub fn new(config: &DenoiserConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        match config {
            DenoiserConfig::Unet(unet) => Unet::new(unet, table).map(|unet| Self::Unet(Box::new(unet))),
            DenoiserConfig::Sd3(sd3) => Transformer::sd3(sd3, table).map(Self::Transformer),
            DenoiserConfig::Flux(flux) => Transformer::flux(flux, table).map(Self::Transformer),
            DenoiserConfig::ZImage(zimage) => Transformer::zimage(zimage, table).map(Self::Transformer),
        }
    }

    /// Returns what the network answers: noise or velocity, `[B, C, h, w]` in `x`'s type.
    pub fn forward(&self, residency: &Residency, pass: Pass<'_>) -> Result<Tensor, EngineError> {
        match self {
            Self::Unet(unet) => unet.forward(residency, pass),
            Self::Transformer(transformer) => {
                let given = Conditions { context: pass.context, pooled: pass.vector, guidance: pass.guidance };
                transformer.forward(residency, pass.x, pass.time, &given)
            }
        }
    }
}
