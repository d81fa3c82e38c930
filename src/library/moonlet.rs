//! The embedded model: a name that always resolves.
//!
//! Its weights are part of the program. Engines read weights from files, so the first use writes
//! them to the cache folder; a copy that is not ours to the byte is written again.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::LibraryError;
use crate::families::{Family, Role};
use crate::units::Bytes;
use crate::weights::DType;
use crate::workflow::ModelEntry;

/// What to write after `-m`.
pub const NAME: &str = "moonlet";
/// What stands in lists for the kind of its folder.
pub const FOLDER: &str = "embedded";

/// A latent diffusion model of night scenes in the SD1.5 layout; `scripts/moonlet` trains it.
static WEIGHTS: &[u8] = include_bytes!("../../scripts/moonlet/moonlet.safetensors");

/// Returns where the weights lie below the cache folder, written or not.
#[must_use]
pub fn place(cache: &Path) -> PathBuf {
    cache.join("models").join(NAME).with_extension("safetensors")
}

/// Returns how lists of models show it.
#[must_use]
pub fn entry(cache: &Path) -> ModelEntry {
    ModelEntry {
        name: NAME.to_owned(),
        folder: FOLDER.to_owned(),
        path: place(cache),
        bytes: Bytes(WEIGHTS.len() as u64),
        family: Some(Family::Sd15),
        variant: Some("base".to_owned()),
        precision: Some(DType::F16),
        components: vec![Role::Denoiser, Role::ClipL, Role::Vae],
        problem: None,
    }
}

/// Returns the path of the weights, after writing them where that is needed.
pub fn path(cache: &Path) -> Result<PathBuf, LibraryError> {
    let path = place(cache);
    if !is_ours(&path).map_err(|e| LibraryError::io(&path, "reading it", e))? {
        write(&path)?;
    }
    Ok(path)
}

fn write(path: &Path) -> Result<(), LibraryError> {
    let failed = |doing| move |e| LibraryError::io(path, doing, e);
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(failed("making its folder"))?;
    // Under another name first: an engine may be reading a copy that is being replaced.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed("writing it"))?;
    file.write_all(WEIGHTS).map_err(failed("writing it"))?;
    file.as_file().sync_all().map_err(failed("flushing it"))?;
    file.persist(path).map_err(|e| LibraryError::io(path, "naming it", e.error))?;
    Ok(())
}

fn is_ours(path: &Path) -> std::io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    if file.metadata()?.len() != WEIGHTS.len() as u64 {
        return Ok(false);
    }
    let mut part = vec![0; 1 << 16];
    for expected in WEIGHTS.chunks(part.len()) {
        let part = &mut part[..expected.len()];
        file.read_exact(part)?;
        if part != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_once_and_mended_when_damaged() {
        let cache = tempfile::tempdir().unwrap();
        let file = path(cache.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), WEIGHTS);
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(path(cache.path()).unwrap(), file);
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written, "it was written again");
        for damage in [|bytes: &mut Vec<u8>| bytes.truncate(100), |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1] {
            let mut bytes = WEIGHTS.to_vec();
            damage(&mut bytes);
            fs::write(&file, bytes).unwrap();
            path(cache.path()).unwrap();
            assert_eq!(fs::read(&file).unwrap(), WEIGHTS);
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "something was left behind");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("models"), "").unwrap();
        let error = path(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(&place(folder.path()).display().to_string()), "{error}");
    }
}
