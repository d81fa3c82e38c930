//! Conversions that the operator keeps: no rule removes them, and no other conversion takes their room.
//!
//! An empty file beside the manifest says so, so that it outlives daemons, restarts, and the conversion being made anew.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{CacheError, beside};

/// What the names of these files end with.
pub(super) const KIND: &str = "kept";

/// Keeps a conversion, or lets it go again. Whether it was kept before does not matter.
pub fn keep(target: &Path, kept: bool) -> Result<(), CacheError> {
    let path = beside(target, KIND);
    if kept {
        return File::create(&path).map(drop).map_err(CacheError::io(&path, "keeping it"));
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::io(&path, "letting it go")(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_twice_is_keeping() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        assert!(keep(&target, true).is_err(), "there is no folder of manifests");
        fs::create_dir(folder.path().join(super::super::FOLDER)).unwrap();
        for (kept, is_there) in [(true, true), (true, true), (false, false), (false, false)] {
            keep(&target, kept).unwrap();
            assert_eq!(beside(&target, KIND).exists(), is_there);
        }
    }
}
