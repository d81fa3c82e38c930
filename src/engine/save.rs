//! Writes finished pictures to where the daemon wants them, whole and flushed.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::EngineError;
use super::image::Rgb;
use crate::imagery::Parameters;
use crate::imagery::png_text::text_chunks;
use crate::jobs::ImageRecord;
use crate::units::Seed;
use crate::weights::Precision;
use crate::wire::RunOrder;
use crate::workflow::{JobSpec, Kind, Refusal};

/// Writes each picture to its target. Where one cannot be written none stays behind.
pub fn all(order: &RunOrder, pictures: &[Rgb], precision: Precision) -> Result<Vec<ImageRecord>, EngineError> {
    let mut records = Vec::with_capacity(pictures.len());
    for (k, (picture, target)) in (0..).zip(pictures.iter().zip(&order.targets)) {
        let seed = order.spec.seed.of_image(k);
        let texts = text_chunks(&parameters(&order.spec, seed, precision)).map_err(io::Error::other);
        let png = texts.and_then(|texts| picture.to_png(&texts).map_err(io::Error::other));
        let written = png.and_then(|png| write(target, &png));
        if let Err(error) = written {
            for target in &order.targets {
                // What was not written cannot be removed, and that is fine.
                drop(fs::remove_file(target));
            }
            return Err(EngineError::Save(refusal(target, &error)));
        }
        records.push(ImageRecord { path: target.clone(), seed, width: picture.width, height: picture.height });
    }
    Ok(records)
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
        precision: Some(precision.name().to_owned()),
        denoise: spec.init.as_ref().map(|init| init.denoise),
        clip_skip: None,
        dialect: Some(spec.dialect.name().to_owned()),
        weighting: Some(spec.weighting.name().to_owned()),
        version: Some(concat!("perilune ", env!("CARGO_PKG_VERSION")).to_owned()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn refusal(target: &Path, error: &io::Error) -> Refusal {
    let folder = target.parent().unwrap_or(target).display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Refusal::new(Kind::Failed, format!("{folder}: the disk is full"), "free some space, then `perilune queue retry`")
        }
        _ => Refusal::new(
            Kind::Failed,
            format!("{folder}: a picture could not be written: {error}"),
            "check that the folder exists and is yours",
        ),
    }
}
