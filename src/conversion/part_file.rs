//! The file that a conversion writes into until it is whole: beside its target, under a name that no loader takes.
//!
//! Beside a target `converted/a_nf4.safetensors` lie, while it is made:
//!
//! ```text
//! converted/.perilune/a_nf4.safetensors.part      the bytes
//! converted/.perilune/a_nf4.safetensors.journal   which of them are on the disk
//! converted/.perilune/a_nf4.safetensors.lock      whose turn it is
//! ```

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with, statvfs};
use rustix::io::Errno;

use super::ConversionError;
use crate::cache::{Segment, beside};
use crate::units::Bytes;

/// The bytes of a target to be.
#[derive(Debug)]
pub struct PartFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
}

impl PartFile {
    /// Opens the part file of `target`, whether it was begun before or not, with room for `length` bytes on the disk.
    pub fn open(target: &Path, length: u64) -> Result<Self, ConversionError> {
        let path = beside(target, "part");
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.map_err(ConversionError::io(&path, "opening it"))?;
        let part = Self { target: target.to_owned(), path, file, length };
        part.reserve()?;
        Ok(part)
    }

    /// Returns whether there is one of this length that was begun before: whoever begins one sizes it first.
    #[must_use]
    pub fn is_begun(target: &Path, length: u64) -> bool {
        fs::metadata(beside(target, "part")).is_ok_and(|m| m.is_file() && m.len() == length)
    }

    fn reserve(&self) -> Result<(), ConversionError> {
        let held = self.file.metadata().map_err(ConversionError::io(&self.path, "reading its size"))?;
        if held.len() > self.length {
            self.file.set_len(self.length).map_err(ConversionError::io(&self.path, "cutting it"))?;
        }
        // A disk that is too small is not filled first to find that out.
        let needed = self.length.saturating_sub(held.blocks() * 512);
        if statvfs(&self.path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < needed) {
            return Err(self.no_space());
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, self.length.max(1)) {
            // File systems that cannot reserve, such as NFS, tell when they are full.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(self.no_space()),
            Err(errno) => return Err(ConversionError::io(&self.path, "reserving room for it")(errno.into())),
        }
        self.file.set_len(self.length).map_err(ConversionError::io(&self.path, "sizing it"))
    }

    /// Returns what is missing on the disk, as far as it can be told.
    fn no_space(&self) -> ConversionError {
        let held = self.file.metadata().map_or(0, |m| m.blocks() * 512);
        let free = statvfs(&self.path).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
        let needed = self.length.saturating_sub(held);
        ConversionError::NoSpace {
            path: self.target.clone(),
            needed: Bytes(needed),
            free: Bytes(free),
            floor: Bytes::ZERO,
            missing: Bytes(needed.saturating_sub(free)),
        }
    }

    /// Writes bytes to their place.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), ConversionError> {
        self.file.write_all_at(bytes, at).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.no_space(),
            _ => ConversionError::io(&self.path, "writing it")(error),
        })
    }

    /// Reads bytes back.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), ConversionError> {
        self.file.read_exact_at(bytes, at).map_err(ConversionError::io(&self.path, "reading it back"))
    }

    /// Gives the file its name, and takes it from nobody.
    fn name_anew(&self) -> Result<(), ConversionError> {
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(ConversionError::Taken { path: self.target.clone() }),
            // File systems that cannot do both at once.
            Err(Errno::INVAL | Errno::NOSYS) if self.target.symlink_metadata().is_ok() => {
                Err(ConversionError::Taken { path: self.target.clone() })
            }
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::rename(&self.path, &self.target).map_err(ConversionError::io(&self.target, "naming it"))
            }
            Err(errno) => Err(ConversionError::io(&self.target, "naming it")(errno.into())),
        }
    }

    /// Returns the error of bytes that are not those that were written.
    #[must_use]
    pub fn damaged(&self, segment: &Segment) -> ConversionError {
        self.wrong(format!("bytes {} to {} differ", segment.start, segment.start + segment.length))
    }

    /// Returns the error of a file that is not what it should be.
    #[must_use]
    pub fn wrong(&self, reason: String) -> ConversionError {
        ConversionError::Damaged { path: self.target.clone(), reason }
    }

    /// Has everything that was written on the disk.
    pub fn sync(&self) -> Result<(), ConversionError> {
        self.file.sync_data().map_err(ConversionError::io(&self.path, "flushing it"))
    }

    /// Gives the file its name, in place of an older result of ours or where nothing is. Afterwards the name is on the disk too.
    pub fn publish(self, in_place: bool) -> Result<(), ConversionError> {
        self.file.sync_all().map_err(ConversionError::io(&self.path, "flushing it"))?;
        if in_place {
            fs::rename(&self.path, &self.target).map_err(ConversionError::io(&self.target, "naming it"))?;
        } else {
            self.name_anew()?;
        }
        let folder = self.target.parent().unwrap_or(Path::new("."));
        match File::open(folder).and_then(|f| f.sync_all()) {
            // Some file systems cannot flush a folder; their entries are as safe as they get.
            Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(ConversionError::io(folder, "flushing it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_beside_the_target_until_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a_nf4.safetensors");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let part = PartFile::open(&target, 6).unwrap();
        part.write(2, b"cd").unwrap();
        assert!(PartFile::is_begun(&target, 6) && !PartFile::is_begun(&target, 5) && !target.exists());
        drop(part);
        let part = PartFile::open(&target, 4).unwrap();
        let mut bytes = [1; 4];
        part.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0cd", "what was written before stays");
        part.publish(false).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"\0\0cd");
        assert_eq!(fs::read_dir(folder.path().join(".perilune")).unwrap().count(), 0, "nothing stays behind");
    }

    #[test]
    fn a_name_that_somebody_took_meanwhile_stays_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let part = PartFile::open(&target, 4).unwrap();
        fs::write(&target, "theirs").unwrap();
        assert!(matches!(part.publish(false), Err(ConversionError::Taken { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        PartFile::open(&target, 4).unwrap().publish(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), [0; 4]);
    }

    #[test]
    fn a_file_larger_than_any_disk_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let error = PartFile::open(&target, 1 << 42).unwrap_err();
        let ConversionError::NoSpace { needed, free, missing, .. } = error else { panic!("{error}") };
        assert_eq!(needed, missing + free);
        assert!(fs::metadata(beside(&target, "part")).unwrap().blocks() < 8, "the disk was not filled to find out");
    }
}
