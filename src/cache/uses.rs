//! How often a conversion was used: a line of its own beside the manifest, so that counting replaces no file.
//!
//! A file that takes another's place is written to the disk by some file systems before the call returns, which takes longer
//! than all of a lookup. This one is written in place, by one write of always the same length: a reader finds the old line or the
//! new one, or digits of both. A power cut costs the count.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{CacheError, beside};
use crate::units::Timestamp;

/// What the names of these files end with.
pub(super) const KIND: &str = "uses";

/// Uses of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// How many.
    pub hits: u64,
    /// The last one.
    pub last: Timestamp,
}

impl Uses {
    /// Reads what is counted of a conversion; nothing where nobody used it, or it cannot be read.
    #[must_use]
    pub fn read(target: &Path) -> Option<Self> {
        let text = fs::read_to_string(beside(target, KIND)).ok()?;
        let (hits, last) = text.trim_end().split_once(' ')?;
        Some(Self { hits: hits.parse().ok()?, last: Timestamp(last.parse().ok()?) })
    }

    /// Forgets what was counted: the conversion is made anew.
    pub fn forget(target: &Path) -> Result<(), CacheError> {
        let path = beside(target, KIND);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::io(&path, "removing it")(e)),
            _ => Ok(()),
        }
    }

    /// Keeps a count.
    pub fn keep(self, target: &Path) -> Result<(), CacheError> {
        let path = beside(target, KIND);
        let line = format!("{:020} {:020}\n", self.hits, self.last.0);
        let written = || -> io::Result<()> {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.write_all_at(line.as_bytes(), 0)
        };
        written().map_err(CacheError::io(&path, "counting a use"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_as_it_was_kept_and_is_nothing_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        fs::create_dir(folder.path().join(super::super::FOLDER)).unwrap();
        assert_eq!(Uses::read(&target), None);
        for uses in [Uses { hits: 9, last: Timestamp(-5) }, Uses { hits: 10, last: Timestamp(1_600_000_000_000) }] {
            uses.keep(&target).unwrap();
            assert_eq!(Uses::read(&target), Some(uses));
        }
        let path = beside(&target, KIND);
        let kept = fs::read(&path).unwrap();
        fs::write(&path, &kept[..15]).unwrap();
        assert_eq!(Uses::read(&target), None);
        Uses::forget(&target).unwrap();
        Uses::forget(&target).unwrap();
        assert!(!path.exists());
        assert!(Uses { hits: 1, last: Timestamp(0) }.keep(Path::new("/nowhere/a.gguf")).is_err());
    }
}
