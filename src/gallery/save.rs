//! Writes a picture under its hidden name.

use std::fs::{self, File, OpenOptions};
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
    // A file of this name is none of ours, and a link may lead anywhere.
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|source| GalleryError::writing(path, source))?;
    fill(file, bytes).map_err(|source| {
        discard(path);
        GalleryError::writing(path, source)
    })
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
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
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let message = GalleryError::writing(Path::new("/tmp/a.part"), fill(full, b"x").unwrap_err()).to_string();
        assert!(message.starts_with("the disk is full: /tmp/a.part could not be written, "), "{message}");
    }

    #[test]
    fn what_is_there_already_stays_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("link.part"));
        fs::write(&theirs, "theirs").unwrap();
        std::os::unix::fs::symlink(&theirs, &link).unwrap();
        for path in [&theirs, &link] {
            let message = write_temp(path, b"ours").unwrap_err().to_string();
            assert!(message.contains("File exists"), "{message}");
        }
        assert_eq!(fs::read_to_string(&link).unwrap(), "theirs");
    }
}
