//! Between pictures and latents: whole or in tiles, which are stripes of rows.

use tch::{Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::device::Compute;
use crate::engine::image::{self, Rgb};
use crate::engine::loading::LoadedVae;
use crate::engine::models::vae::tiling::Stripes;
use crate::families::LatentSpace;
use crate::units::{Bytes, Size};
use crate::workflow::JobSpec;

/// Whether the autoencoder sees the picture whole or in tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Whole.
    Whole,
    /// In tiles.
    Tiled,
}

/// Returns the latent of the picture to start from, `[1, C, h, w]` in fp32; the mean, scaled for the network.
pub fn encode_picture(
    vae: &LoadedVae,
    space: &LatentSpace,
    picture: &Tensor,
    cut: Cut,
    compute: &Compute,
) -> Result<Option<Tensor>, EngineError> {
    let picture = picture.to_device(compute.device);
    let mean = match cut {
        Cut::Whole => vae.model.encode(&vae.residency, &picture)?,
        Cut::Tiled => vae.model.encode_in_stripes(&vae.residency, &picture, Stripes::USUAL)?,
    };
    Ok(mean.map(|mean| (mean.to_kind(Kind::Float) - space.shift) * space.scale))
}

/// Returns the picture of one latent `[1, C, h, w]`.
pub fn decode_picture(vae: &LoadedVae, space: &LatentSpace, latent: &Tensor, cut: Cut) -> Result<Rgb, EngineError> {
    let latent = latent / space.scale + space.shift;
    let picture = match cut {
        Cut::Whole => vae.model.decode(&vae.residency, &latent)?,
        Cut::Tiled => vae.model.decode_in_stripes(&vae.residency, &latent, Stripes::USUAL)?,
    };
    if picture.isfinite().all().int64_value(&[]) == 0 {
        return Err(EngineError::NotFinite { place: vae.residency.place(), step: 0 });
    }
    Rgb::from_tensor(&picture.get(0)).ok_or_else(|| EngineError::Torch {
        place: "decoding".to_owned(),
        reason: format!("the autoencoder gave a picture of shape {:?}", picture.size()),
    })
}

/// Returns about how much memory decoding a picture of this size takes beyond weights, in fp32.
///
/// Source: ComfyUI `comfy/sd.py`, `VAE.memory_used_decode` for this autoencoder: 2178 bytes a pixel and byte of type.
#[must_use]
pub fn decode_estimate(size: Size) -> Bytes {
    Bytes(2178 * u64::from(size.width()) * u64::from(size.height()) * 4)
}

/// Returns the picture to start from, read and cut to the job's size.
pub fn read_init(spec: &JobSpec) -> Result<Option<Tensor>, EngineError> {
    spec.init.as_ref().map(|init| image::read(&init.path, spec.size)).transpose()
}
