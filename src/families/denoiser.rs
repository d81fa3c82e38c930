//! The diffusion network of any family.

use super::cost::{Work, unet_efforts};
use super::{FamilyError, FluxConfig, Role, Sd3Config, UnetConfig, ZImageConfig};
use crate::units::Bytes;
use crate::weights::{BlockTable, Catalog, Effort, Precision, Shape, Unit};

/// More blocks in a row than any network has: what claims more is no network.
pub(super) const MOST_BLOCKS: u64 = 1000;

/// So few blocks short of a released model's depth is one that lost its last blocks, and not a shorter one that somebody made.
const LOST: u64 = 3;

/// Fails where a row of blocks, a network's or an encoder's, seems to have lost its last ones, which no shape tells: `tensor` of the
/// first that is gone is named. Some networks were cut down on purpose, by far more.
pub(super) fn check_depth(role: Role, row: &str, count: u64, released: u64, tensor: &str) -> Result<(), FamilyError> {
    if count < released && released - count <= LOST {
        return Err(FamilyError::Missing { role, tensor: format!("{row}.{count}.{tensor}") });
    }
    Ok(())
}

/// Everything that the forward pass of a diffusion network must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenoiserConfig {
    /// A UNet: SD1, SD2, SDXL.
    Unet(UnetConfig),
    /// Stable Diffusion 3.
    Sd3(Sd3Config),
    /// Flux.1.
    Flux(FluxConfig),
    /// Z-Image.
    ZImage(ZImageConfig),
}

impl DenoiserConfig {
    /// Reads the configuration of a network in canonical names.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        if catalog.has_prefix("joint_blocks.") {
            return Sd3Config::read(catalog).map(Self::Sd3);
        }
        if catalog.has_prefix("double_blocks.") {
            return FluxConfig::read(catalog).map(Self::Flux);
        }
        if catalog.has_prefix("cap_embedder.") {
            return ZImageConfig::read(catalog).map(Self::ZImage);
        }
        UnetConfig::read(catalog).map(Self::Unet)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        match self {
            Self::Unet(unet) => unet.expected(),
            Self::Sd3(sd3) => sd3.expected(),
            Self::Flux(flux) => flux.expected(),
            Self::ZImage(zimage) => zimage.expected(),
        }
    }

    /// Returns the units that can live apart, in order of execution.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        match self {
            Self::Unet(unet) => super::blocks::unet_units(unet),
            Self::Sd3(sd3) => sd3.units(),
            Self::Flux(flux) => flux.units(),
            Self::ZImage(zimage) => zimage.units(),
        }
    }

    /// Returns what each block computes in a step, in the table's order.
    #[must_use]
    pub fn efforts(&self, table: &BlockTable, work: Work) -> Vec<Effort> {
        match self {
            Self::Unet(unet) => unet_efforts(unet, table, work),
            Self::Sd3(sd3) => sd3.efforts(table, work),
            Self::Flux(flux) => flux.efforts(table, work),
            Self::ZImage(zimage) => zimage.efforts(table, work),
        }
    }

    /// Returns the memory beyond weights that a walk is taken to need on a GPU before anybody has measured it: ComfyUI's estimate
    /// for attention that keeps no matrix of scores (`memory_required` in `comfy/model_base.py`, factors in
    /// `comfy/supported_models.py`).
    #[must_use]
    pub fn activations(&self, work: Work, precision: Precision) -> Bytes {
        let factor = match self {
            Self::Unet(unet) if unet.vector_width.is_some() => 0.8,
            Self::Unet(_) => 1.0,
            Self::Sd3(_) | Self::ZImage(_) => 1.2,
            Self::Flux(_) => 3.1,
        };
        estimated(factor, work, precision)
    }

    /// Returns how many channels a latent has, as the network is given it.
    #[must_use]
    pub fn in_channels(&self) -> u64 {
        match self {
            Self::Unet(unet) => unet.in_channels,
            Self::Sd3(sd3) => sd3.in_channels,
            // A token is a patch of 2 × 2 cells.
            Self::Flux(flux) => flux.in_width / 4,
            Self::ZImage(zimage) => zimage.token_width / 4,
        }
    }

    /// Returns the width of the text that it reads.
    #[must_use]
    pub fn context_width(&self) -> u64 {
        match self {
            Self::Unet(unet) => unet.context_width,
            Self::Sd3(sd3) => sd3.context_width,
            Self::Flux(flux) => flux.context_width,
            Self::ZImage(zimage) => zimage.context_width,
        }
    }

    /// Returns the width of what it is told of a picture as a whole, where it is told anything.
    #[must_use]
    pub fn vector_width(&self) -> Option<u64> {
        match self {
            Self::Unet(unet) => unet.vector_width,
            Self::Sd3(sd3) => Some(sd3.pooled_width),
            Self::Flux(flux) => Some(flux.pooled_width),
            Self::ZImage(_) => None,
        }
    }

    /// Returns the tokens of text that a run is reckoned with.
    #[must_use]
    pub fn text_tokens(&self) -> u64 {
        match self {
            Self::Unet(_) => super::cost::WINDOW,
            Self::Sd3(_) => Sd3Config::TEXT_TOKENS,
            Self::Flux(_) => FluxConfig::TEXT_TOKENS,
            Self::ZImage(_) => ZImageConfig::TEXT_TOKENS,
        }
    }

    /// Returns a time in the middle of the noise, as the network is told it.
    #[must_use]
    pub fn middle_time(&self) -> f64 {
        match self {
            Self::Unet(_) => 500.0,
            Self::Sd3(_) | Self::Flux(_) | Self::ZImage(_) => 0.5,
        }
    }
}

/// A hundredth of a MiB for each byte of a latent's cells, times the factor of its architecture.
#[expect(clippy::cast_sign_loss, reason = "a product of sizes")]
fn estimated(factor: f64, work: Work, precision: Precision) -> Bytes {
    let cells = work.rows as f64 / work.walks.max(1) as f64 * (work.latent.0 * work.latent.1) as f64;
    Bytes((cells * precision.bytes() as f64 * 0.01 * factor * Bytes::mib(1).get() as f64).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_estimated_as_comfyui_does() {
        let mib = |factor, side: u64, rows| {
            let work = Work { latent: (side / 8, side / 8), rows, walks: 1 };
            (estimated(factor, work, Precision::Fp16).get() + Bytes::mib(1).get() / 2) >> 20
        };
        let of_each = [mib(1.0, 512, 2), mib(0.8, 1024, 2), mib(1.2, 1024, 1), mib(3.1, 1024, 1)];
        assert_eq!(of_each, [164, 524, 393, 1016]);
        // A solver that evaluates twice in a step has the memory of one evaluation.
        let twice = Work { latent: (64, 64), rows: 4, walks: 2 };
        assert_eq!(estimated(1.0, twice, Precision::Fp16), estimated(1.0, Work { rows: 2, walks: 1, ..twice }, Precision::Fp16));
    }
}
