//! The diffusion transformers, told apart by their family.
//!
//! All are given the share of noise in 0…1 as time, and all return the way from picture to noise: what a flow-matching solver
//! wants. What each makes of the time, and which sign it has inside, is its own.

use tch::Tensor;

use super::flux::Flux;
use super::mmdit::Mmdit;
use super::zimage::ZImage;
use crate::engine::EngineError;
use crate::engine::residency::Residency;
use crate::families::{FamilyError, FluxConfig, Role, Sd3Config, ZImageConfig};
use crate::weights::BlockTable;

/// A diffusion transformer of any family.
#[derive(Debug)]
pub enum Transformer {
    /// Stable Diffusion 3.
    Sd3(Box<Mmdit>),
    /// Flux.1.
    Flux(Box<Flux>),
    /// Z-Image.
    ZImage(Box<ZImage>),
}

/// What a picture is made by.
#[derive(Debug)]
pub struct Conditions<'a> {
    /// The text, token by token: `[B, L, ctx]`.
    pub context: &'a Tensor,
    /// The text as a whole: `[B, P]`; not every family reads it.
    pub pooled: Option<&'a Tensor>,
    /// The strength of guidance, for networks that have it as an input; others leave it unread.
    pub guidance: Option<f64>,
}

impl Conditions<'_> {
    fn pooled(&self) -> Result<&Tensor, EngineError> {
        let missing = || FamilyError::Missing { role: Role::ClipL, tensor: "pooled text".to_owned() };
        self.pooled.ok_or_else(|| EngineError::Family { path: std::path::PathBuf::new(), source: missing() })
    }
}

impl Transformer {
    /// Finds the weights of SD3's network.
    pub fn sd3(config: &Sd3Config, table: &BlockTable) -> Result<Self, FamilyError> {
        Ok(Self::Sd3(Box::new(Mmdit::new(config, table)?)))
    }

    /// Finds the weights of Flux.1's network.
    pub fn flux(config: &FluxConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        Ok(Self::Flux(Box::new(Flux::new(config, table)?)))
    }

    /// Finds the weights of Z-Image's network.
    pub fn zimage(config: &ZImageConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        Ok(Self::ZImage(Box::new(ZImage::new(config, table)?)))
    }

    /// `x [B, C, h, w]`, `time` in 0…1, the share of noise, to noise − picture, `[B, C, h, w]`, in `x`'s type, which is that of
    /// the stream: the weights' own, or the wider one that [`stream`](crate::engine::nn::wide::stream) names.
    pub fn forward(&self, residency: &Residency, x: &Tensor, time: f64, given: &Conditions<'_>) -> Result<Tensor, EngineError> {
        match self {
            Self::Sd3(mmdit) => mmdit.forward(residency, x, time, given.context, given.pooled()?),
            Self::Flux(flux) => flux.forward(residency, x, time, given.context, given.pooled()?, given.guidance),
            Self::ZImage(zimage) => zimage.forward(residency, x, time, given.context),
        }
    }
}
