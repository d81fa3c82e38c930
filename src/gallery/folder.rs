//! Folders of pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::GalleryError;

/// Checks that pictures can be written to a folder. What had to be made for that is removed again.
pub fn check(folder: &Path) -> Result<(), GalleryError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|a| !a.as_os_str().is_empty() && !a.exists()).collect();
    let tried = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    for made in missing {
        // One that was not made, or that somebody else has already put something into, stays as it is.
        drop(fs::remove_dir(made));
    }
    tried.map(drop).map_err(|source| GalleryError::writing(&folder.join("image"), source))
}

/// Returns the pictures in a folder, the newest first.
#[must_use]
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    // A folder that is not there, or not ours to read, holds no pictures.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && path.extension().is_some_and(|e| e == "png") {
            let time = entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((time, path));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("a/b")).unwrap();
        check(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = check(Path::new("/proc/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.starts_with("/proc/nowhere/at/all cannot be written to: "), "{error}");
    }

    #[test]
    fn hidden_and_other_files_are_no_pictures() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", ".perilune-1-0.part", ".b.png", "c.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(list(folder.path()), [folder.path().join("a.png")]);
    }
}
