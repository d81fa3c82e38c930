//! The autoencoder as a whole.
//!
//! Source: CompVis `ldm/models/autoencoder.py`, `AutoencoderKL`.

use tch::{Device, Tensor};

use super::layers::{EPS, Level, Middle, Resample};
use crate::engine::EngineError;
use crate::engine::heap;
use crate::engine::nn::{Conv2d, GroupNorm, Scope};
use crate::engine::residency::Residency;
use crate::families::vae::HalfConfig;
use crate::families::{FamilyError, Role, VaeConfig};
use crate::units::BlockIndex;
use crate::weights::BlockTable;

/// Pictures to latents and back.
#[derive(Debug, Clone)]
pub struct Vae {
    pub(super) encoder: Option<Half>,
    pub(super) decoder: Half,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
}

#[derive(Debug, Clone)]
pub(super) struct Half {
    pub(super) conv_in_at: BlockIndex,
    pub(super) conv_in: Conv2d,
    pub(super) levels: Vec<Level>,
    pub(super) middle: Middle,
    pub(super) out_at: BlockIndex,
    pub(super) norm_out: GroupNorm,
    pub(super) conv_out: Conv2d,
}

impl Vae {
    /// Finds the network's weights.
    pub fn new(config: &VaeConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Vae);
        let encoder = config.encoder.as_ref().map(|half| Half::new(&scope.at("encoder"), "down", half, Resample::Down));
        let quant = |name: &str, there: bool| if there { Conv2d::pointwise(&scope.at(name)).map(Some) } else { Ok(None) };
        Ok(Self {
            quant_conv: quant("quant_conv", config.quant_convs && encoder.is_some())?,
            encoder: encoder.transpose()?,
            decoder: Half::new(&scope.at("decoder"), "up", &config.decoder, Resample::Up)?,
            post_quant_conv: quant("post_quant_conv", config.quant_convs)?,
        })
    }

    /// `picture [B, 3, H, W]` in −1…1 to the mean of its latent, `[B, z, H/8, W/8]`; `None` from decoder-only files.
    ///
    /// The mean rather than a sample, as in ComfyUI: the same picture always gives the same latent.
    pub fn encode(&self, residency: &Residency, picture: &Tensor) -> Result<Option<Tensor>, EngineError> {
        let Some(encoder) = &self.encoder else { return Ok(None) };
        let mut h = encoder.begin(residency, &channels_last(picture))?;
        for level in &encoder.levels {
            h = level.forward(residency, h, Resample::Down)?;
        }
        h = encoder.middle.forward(residency, &h)?;
        self.mean(residency, encoder.end(residency, &h)?).map(Some)
    }

    /// The mean of what the encoder's end says of the latent.
    pub(super) fn mean(&self, residency: &Residency, mut h: Tensor) -> Result<Tensor, EngineError> {
        if let Some(conv) = &self.quant_conv {
            h = conv.forward(&residency.head()?, &h);
        }
        let mean_and_variance = h.chunk(2, 1);
        Ok(mean_and_variance[0].shallow_clone())
    }

    /// `latent [B, z, h, w]` to pictures `[B, 3, 8h, 8w]`, about −1…1.
    pub fn decode(&self, residency: &Residency, latent: &Tensor) -> Result<Tensor, EngineError> {
        let decoder = &self.decoder;
        let mut h = self.before_decoder(residency, latent)?;
        h = decoder.begin(residency, &h)?;
        h = decoder.middle.forward(residency, &h)?;
        // Files count the decoder's levels from the finest; the way up begins at the coarsest.
        for level in decoder.levels.iter().rev() {
            // A level's tensors have twice or four times the size of those before and fit into none of their holes.
            heap::trim();
            h = level.forward(residency, h, Resample::Up)?;
        }
        decoder.end(residency, &h)
    }

    /// What the decoder is given of a latent.
    pub(super) fn before_decoder(&self, residency: &Residency, latent: &Tensor) -> Result<Tensor, EngineError> {
        match &self.post_quant_conv {
            Some(conv) => Ok(channels_last(&conv.forward(&residency.head()?, latent))),
            None => Ok(channels_last(latent)),
        }
    }
}

/// Lays `[B, C, H, W]` out with the channels of a cell side by side, and with it everything that is computed from it.
///
/// Convolutions turn large pictures into this order and back otherwise: at 512² pixels that is a twelfth of the time and
/// half a gigabyte. On GPUs cuDNN chooses for itself.
pub(super) fn channels_last(x: &Tensor) -> Tensor {
    if x.device() != Device::Cpu {
        return x.shallow_clone();
    }
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

impl Half {
    fn new(scope: &Scope<'_>, levels: &str, half: &HalfConfig, resample: Resample) -> Result<Self, FamilyError> {
        Ok(Self {
            conv_in_at: scope.at("conv_in").block()?,
            conv_in: Conv2d::same(&scope.at("conv_in"))?,
            levels: Level::all(&scope.at(levels), half, resample)?,
            middle: Middle::new(&scope.at("mid"))?,
            out_at: scope.at("conv_out").block()?,
            norm_out: GroupNorm::new(&scope.at("norm_out"), EPS)?,
            conv_out: Conv2d::same(&scope.at("conv_out"))?,
        })
    }

    /// The first convolution.
    pub(super) fn begin(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(self.conv_in.forward(&residency.acquire(self.conv_in_at)?, x))
    }

    /// Norm and convolution after the last level or, on the way down, after the middle.
    pub(super) fn end(&self, residency: &Residency, h: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.out_at)?;
        Ok(self.conv_out.forward(&held, &self.norm_out.forward(&held, h).silu_()))
    }
}
