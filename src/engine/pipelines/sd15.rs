//! Stable Diffusion 1.x: from a job to pictures, one stage a function.

use tch::{Device, Kind, Tensor};

use super::latent::Latent;
use super::noise::NoiseSource;
use super::solve::{Around, Denoiser, Eye, Memory};
use super::text;
use crate::engine::device::{Compute, kind};
use crate::engine::image::{self, Rgb};
use crate::engine::loading::{LoadedClip, LoadedUnet, LoadedVae};
use crate::engine::models::vae::tiling::{Tiles, in_tiles};
use crate::engine::nn::wide::stream;
use crate::engine::{EngineError, residency};
use crate::families::sd15::LATENT_SCALE;
use crate::sampling::{Course, NoiseTable, StartNoise, solve};
use crate::tokens::chunks::Window;
use crate::units::{Bytes, Size};
use crate::weights::Precision;
use crate::workflow::JobSpec;
use crate::workflow::text::windows;

/// What the picture shows and must not show, as the network reads it: two tensors of one shape `[1, L, C]`.
#[derive(Debug)]
pub struct Conditioning {
    /// What it shows.
    pub positive: Tensor,
    /// What it must not show.
    pub negative: Tensor,
}

/// Reads both prompts.
pub fn condition(spec: &JobSpec, clip: &LoadedClip, device: Device) -> Result<Conditioning, EngineError> {
    let mut positive = windows(&spec.prompt, spec.dialect);
    let mut negative = windows(&spec.negative, spec.dialect);
    let longest = positive.len().max(negative.len());
    positive.resize_with(longest, Window::empty);
    negative.resize_with(longest, Window::empty);
    let read = |windows: &[Window]| text::encode(clip, windows, spec.weighting, device);
    Ok(Conditioning { positive: read(&positive)?, negative: read(&negative)? })
}

/// The levels of a run and the latent it starts from.
#[derive(Debug)]
pub struct Start {
    /// Noise levels, falling.
    pub sigmas: Vec<f64>,
    /// `[B, 4, h, w]` in fp32.
    pub latent: Latent,
    /// Noise for later.
    pub noise: NoiseSource,
}

/// Draws the noise to start from, over `picture`'s latent `[1, 4, h, w]` where there is one.
#[must_use]
pub fn start(spec: &JobSpec, table: &NoiseTable, picture: Option<&Tensor>, device: Device) -> Start {
    let denoise = spec.init.as_ref().map_or(1.0, |init| init.denoise);
    let course = Course { sampler: spec.sampler, schedule: spec.schedule, steps: spec.steps as usize, denoise };
    let sigmas = course.sigmas(table);
    let (height, width) = spec.size.latent();
    let noise = NoiseSource::new(spec.seed, spec.batch, [4, height, width], device);
    let begin = StartNoise::at(sigmas.first().copied().unwrap_or(0.0), table);
    let fresh = Latent(noise.start());
    let below = picture.map_or_else(|| fresh.0.zeros_like(), |p| p.expand_as(&fresh.0));
    let latent = begin.mix(&fresh, &Latent(below));
    Start { sigmas, latent, noise }
}

/// Takes the noise away, step by step; returns clean latents `[B, 4, h, w]` in fp32.
pub fn sample(
    spec: &JobSpec,
    unet: &LoadedUnet,
    table: &NoiseTable,
    start: Start,
    conditioning: &Conditioning,
    precision: Precision,
    around: &mut dyn Around,
) -> Result<Tensor, EngineError> {
    let eye = Eye {
        unet,
        table,
        prediction: spec.prediction,
        cfg: spec.cfg,
        passes: spec.passes,
        positive: conditioning.positive.shallow_clone(),
        negative: conditioning.negative.shallow_clone(),
        kind: stream(kind(precision)),
    };
    let mut denoiser = Denoiser { eye, noise: start.noise, around, memory: Memory::new(spec.sampler) };
    Ok(solve(spec.sampler, table.noising(), &start.sigmas, start.latent, &mut denoiser)?.0)
}

/// Whether the autoencoder sees the picture whole or in tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Whole.
    Whole,
    /// In tiles.
    Tiled,
}

/// Returns the latent of the picture to start from, `[1, 4, h, w]` in fp32; the mean, scaled for the network.
pub fn encode_picture(vae: &LoadedVae, picture: &Tensor, cut: Cut, compute: &Compute) -> Result<Option<Tensor>, EngineError> {
    let picture = picture.to_device(compute.device);
    if vae.config.encoder.is_none() {
        return Ok(None);
    }
    let downscale = vae.model.downscale;
    let tiles = Tiles { side: Tiles::USUAL.side * downscale, overlap: Tiles::USUAL.overlap * downscale };
    let encode = |tile: &Tensor| {
        let mean = vae.model.encode(&vae.residency, tile)?;
        // Checked above: there is an encoder.
        Ok(mean.unwrap_or_default())
    };
    let mean = match cut {
        Cut::Whole => encode(&picture)?,
        Cut::Tiled => in_tiles(&picture, tiles, (1, downscale), encode)?,
    };
    Ok(Some(mean.to_kind(Kind::Float) * LATENT_SCALE))
}

/// Returns the picture of one latent `[1, 4, h, w]`.
pub fn decode_picture(vae: &LoadedVae, latent: &Tensor, cut: Cut) -> Result<Rgb, EngineError> {
    let latent = latent / LATENT_SCALE;
    let decode = |tile: &Tensor| vae.model.decode(&vae.residency, tile);
    let picture = match cut {
        Cut::Whole => decode(&latent)?,
        Cut::Tiled => in_tiles(&latent, Tiles::USUAL, (vae.model.downscale, 1), decode)?,
    };
    if picture.isfinite().all().int64_value(&[]) == 0 {
        return Err(EngineError::NotFinite { place: residency_place(&vae.residency), step: 0 });
    }
    Rgb::from_tensor(&picture.get(0)).ok_or_else(|| EngineError::Torch {
        place: "decoding".to_owned(),
        reason: format!("the autoencoder gave a picture of shape {:?}", picture.size()),
    })
}

fn residency_place(residency: &residency::Residency) -> String {
    residency.place()
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
