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

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::ConversionError;
use crate::cache::{Segment, beside};
use crate::units::Bytes;

/// A turn at one target: nobody else writes it meanwhile.
#[derive(Debug)]
pub struct Turn {
    path: PathBuf,
    _lock: File,
}

impl Turn {
    /// Waits until nobody else makes this target. `waiting` is called once if somebody does.
    pub fn take(target: &Path, waiting: impl FnOnce()) -> Result<Self, ConversionError> {
        let path = beside(target, "lock");
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(ConversionError::io(folder, "making the folder"))?;
        let mut waiting = Some(waiting);
        loop {
            let lock = File::options().create(true).truncate(false).write(true).open(&path);
            let lock = lock.map_err(ConversionError::io(&path, "opening the lock"))?;
            let refused = |errno: Errno| ConversionError::io(&path, "locking it")(errno.into());
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    if let Some(tell) = waiting.take() {
                        tell();
                    }
                    flock(&lock, FlockOperation::LockExclusive).map_err(refused)?;
                }
                Err(errno) => return Err(refused(errno)),
            }
            // Whoever had it before may have removed it with its turn; then this one is nobody's.
            let ours = lock.metadata().map(|m| m.ino()).ok();
            if ours.is_some() && fs::metadata(&path).map(|m| m.ino()).ok() == ours {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A lock that stays behind is as good as a new one.
        drop(fs::remove_file(&self.path));
    }
}

/// Returns whether somebody makes this target at the moment.
#[must_use]
pub fn is_in_use(target: &Path) -> bool {
    let lock = File::open(beside(target, "lock"));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

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

    /// Returns whether there is one that was begun before.
    #[must_use]
    pub fn is_begun(target: &Path) -> bool {
        beside(target, "part").exists()
    }

    fn reserve(&self) -> Result<(), ConversionError> {
        let held = self.file.metadata().map_err(ConversionError::io(&self.path, "reading its size"))?;
        if held.len() > self.length {
            self.file.set_len(self.length).map_err(ConversionError::io(&self.path, "cutting it"))?;
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, self.length.max(1)) {
            Ok(()) => {}
            // File systems that cannot reserve, such as NFS, tell when they are full.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
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

    /// Gives the file its name, in place of what has it. Afterwards the name is on the disk too.
    pub fn publish(self) -> Result<(), ConversionError> {
        self.file.sync_all().map_err(ConversionError::io(&self.path, "flushing it"))?;
        fs::rename(&self.path, &self.target).map_err(ConversionError::io(&self.target, "naming it"))?;
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
        let turn = Turn::take(&target, || panic!("nobody else is here")).unwrap();
        let part = PartFile::open(&target, 6).unwrap();
        part.write(2, b"cd").unwrap();
        assert!(PartFile::is_begun(&target) && !target.exists());
        drop(part);
        let part = PartFile::open(&target, 4).unwrap();
        let mut bytes = [1; 4];
        part.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0cd", "what was written before stays");
        part.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"\0\0cd");
        assert!(!PartFile::is_begun(&target));
        drop(turn);
        assert_eq!(fs::read_dir(folder.path().join(".perilune")).unwrap().count(), 0, "nothing stays behind");
    }

    #[test]
    fn a_file_larger_than_any_disk_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let _turn = Turn::take(&target, || ()).unwrap();
        let error = PartFile::open(&target, 1 << 42).unwrap_err();
        let ConversionError::NoSpace { needed, free, missing, .. } = error else { panic!("{error}") };
        assert_eq!(needed, missing + free);
    }

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let first = Turn::take(&target, || ()).unwrap();
        let (told, hears) = std::sync::mpsc::channel();
        let second = std::thread::spawn({
            let target = target.clone();
            move || Turn::take(&target, || told.send(()).unwrap()).map(drop)
        });
        hears.recv().unwrap();
        drop(first);
        second.join().unwrap().unwrap();
    }
}
