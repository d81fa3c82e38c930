//! Writes a picture under its hidden name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use super::GalleryError;

/// Has a limit on the size of files, `ulimit -f`, refuse a write as a full disk does; by default it kills
/// the process that writes. To be called once, by whoever saves pictures.
pub fn survive_limits() -> io::Result<()> {
    // Listening is enough; nobody needs to know.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}

/// Writes the bytes and flushes them to disk. After an error nothing is left behind.
pub fn write_temp(path: &Path, bytes: &[u8]) -> Result<(), GalleryError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| GalleryError::writing(path, source))?;
    }
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| {
        discard(path);
        GalleryError::writing(path, source)
    })
}

/// Removes a picture that nobody will name.
pub fn discard(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(e) => tracing::warn!("{} could not be removed: {e}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwritable_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/a.part");
        let message = write_temp(&path, b"x").unwrap_err().to_string();
        assert!(message.starts_with(&format!("{} cannot be written to: ", folder.path().join("file").display())), "{message}");
    }

    /// `/dev/full` takes no byte and says that the disk is full.
    #[test]
    fn a_full_disk_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let message = write_temp(&path, b"x").unwrap_err().to_string();
        assert!(message.starts_with(&format!("the disk is full: {} could not be written, ", path.display())), "{message}");
        assert!(!path.is_symlink(), "something was left behind");
    }
}
