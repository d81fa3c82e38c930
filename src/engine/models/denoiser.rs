//! A diffusion network of any family.

use tch::Tensor;

use super::flux::Flux;
use super::mmdit::Mmdit;
use super::unet::Unet;
use super::zimage::ZImage;
use crate::engine::EngineError;
use crate::engine::residency::Residency;
use crate::families::{DenoiserConfig, FamilyError, Role};
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

    /// Returns the vector, for networks that cannot do without.
    fn pooled(&self) -> Result<&'a Tensor, EngineError> {
        self.vector.ok_or_else(|| EngineError::missing(Role::ClipL, "pooled text"))
    }
}

/// The structure of a diffusion network.
#[derive(Debug)]
pub enum DenoiserModel {
    /// Stable Diffusion 1, 2 and XL.
    Unet(Box<Unet>),
    /// Stable Diffusion 3.
    Sd3(Box<Mmdit>),
    /// Flux.1.
    Flux(Box<Flux>),
    /// Z-Image.
    ZImage(Box<ZImage>),
}

impl DenoiserModel {
    /// Finds the network's weights.
    pub fn new(config: &DenoiserConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        Ok(match config {
            DenoiserConfig::Unet(unet) => Self::Unet(Box::new(Unet::new(unet, table)?)),
            DenoiserConfig::Sd3(sd3) => Self::Sd3(Box::new(Mmdit::new(sd3, table)?)),
            DenoiserConfig::Flux(flux) => Self::Flux(Box::new(Flux::new(flux, table)?)),
            DenoiserConfig::ZImage(zimage) => Self::ZImage(Box::new(ZImage::new(zimage, table)?)),
        })
    }

    /// Returns what the network answers, `[B, C, h, w]` in `x`'s type: noise or velocity, and where it matches flows the way from
    /// picture to noise, whichever sign it has inside.
    pub fn forward(&self, residency: &Residency, pass: Pass<'_>) -> Result<Tensor, EngineError> {
        let Pass { x, time, context, guidance, .. } = pass;
        match self {
            Self::Unet(unet) => unet.forward(residency, pass),
            Self::Sd3(mmdit) => mmdit.forward(residency, x, time, context, pass.pooled()?),
            Self::Flux(flux) => flux.forward(residency, x, time, context, pass.pooled()?, guidance),
            Self::ZImage(zimage) => zimage.forward(residency, x, time, context),
        }
    }
}
