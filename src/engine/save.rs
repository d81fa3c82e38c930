//! Writes finished pictures to where the daemon wants them, whole and flushed.

use std::io;

use tch::{Device, Kind, Tensor};

use super::EngineError;
use super::image::Rgb;
use crate::gallery::{self, GalleryError};
use crate::imagery::png_text::text_chunks;
use crate::imagery::{self, ImageryError, KeptLatent, Parameters};
use crate::jobs::ImageRecord;
use crate::units::Seed;
use crate::weights::Precision;
use crate::wire::RunOrder;
use crate::workflow::{JobSpec, Refusal};

/// Writes each picture to its target. Where one cannot be written none stays behind.
///
/// `latents [B, C, h, w]` is what they were decoded from; each file keeps its own where the job asks for it.
pub fn all(order: &RunOrder, pictures: &[Rgb], latents: &Tensor, precision: Precision) -> Result<Vec<ImageRecord>, EngineError> {
    let mut records = Vec::with_capacity(pictures.len());
    for (k, (picture, target)) in (0..).zip(pictures.iter().zip(&order.targets)) {
        let seed = order.spec.seed.of_image(k);
        let texts = text_chunks(&parameters(&order.spec, seed, precision)).map_err(io::Error::other);
        let png = texts.and_then(|texts| picture.to_png(&texts).map_err(io::Error::other)).and_then(|png| {
            if order.spec.keep_latents { with_latent(png, &latents.get(i64::from(k))).map_err(io::Error::other) } else { Ok(png) }
        });
        let written = png.map_err(|e| GalleryError::writing(target, e)).and_then(|png| gallery::write_temp(target, &png));
        if let Err(error) = written {
            order.targets.iter().for_each(|target| gallery::discard(target));
            return Err(EngineError::Save(Refusal::from(&error)));
        }
        records.push(ImageRecord { path: target.clone(), seed, width: picture.width, height: picture.height });
    }
    Ok(records)
}

/// The file with the latent `[C, h, w]` in it.
fn with_latent(png: Vec<u8>, latent: &Tensor) -> Result<Vec<u8>, ImageryError> {
    let shape = latent.size().iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
    let values = Vec::<f32>::try_from(latent.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view(-1))
        .map_err(|e| ImageryError::Unkept { reason: e.to_string() })?;
    imagery::latent::keep(png, &KeptLatent { shape, values })
}

/// What the picture was made with, as its file will tell.
fn parameters(spec: &JobSpec, seed: Seed, precision: Precision) -> Parameters {
    Parameters {
        prompt: spec.prompt.clone(),
        negative: spec.negative.clone(),
        steps: spec.steps,
        sampler: spec.sampler.name().to_owned(),
        schedule: spec.schedule.name().to_owned(),
        cfg: spec.cfg,
        seed,
        size: spec.size,
        model: spec.set.name.clone(),
        model_hash: None,
        vae: None,
        precision: Some(spec.conversion.as_ref().map_or_else(|| precision.name().to_owned(), |c| c.wish.to.name())),
        denoise: spec.init.as_ref().map(|init| init.denoise),
        clip_skip: None,
        dialect: Some(spec.dialect.name().to_owned()),
        weighting: Some(spec.weighting.name().to_owned()),
        version: Some(concat!("perilune ", env!("CARGO_PKG_VERSION")).to_owned()),
    }
}
