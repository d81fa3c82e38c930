//! Writes finished pictures to where the daemon wants them, whole and flushed.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::EngineError;
use super::image::Rgb;
use crate::jobs::ImageRecord;
use crate::weights::Precision;
use crate::wire::RunOrder;
use crate::workflow::{Kind, Refusal};

/// Writes each picture to its target. Where one cannot be written none stays behind.
pub fn all(order: &RunOrder, pictures: &[Rgb], _precision: Precision) -> Result<Vec<ImageRecord>, EngineError> {
    let mut records = Vec::with_capacity(pictures.len());
    for (k, (picture, target)) in (0..).zip(pictures.iter().zip(&order.targets)) {
        let seed = order.spec.seed.of_image(k);
        let written = picture.to_png(&[]).map_err(io::Error::other).and_then(|png| write(target, &png));
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
