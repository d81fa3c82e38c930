//! Whose turn it is to make a target: nobody else writes it meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::ConversionError;
use super::pipeline::BEAT;
use crate::cache::{self, beside};

/// A turn at one target. It ends when it is dropped, or with its process.
#[derive(Debug)]
pub struct Turn {
    path: PathBuf,
    _lock: File,
}

impl Turn {
    /// Waits until nobody else makes this target, or somebody says stop. `waiting` is called once if there is somebody.
    pub fn take(target: &Path, stop: &AtomicBool, waiting: impl FnOnce()) -> Result<Self, ConversionError> {
        let path = beside(target, "lock");
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(ConversionError::io(folder, "making the folder"))?;
        let mut waiting = Some(waiting);
        loop {
            if let Some(turn) = Self::attempt(target)? {
                return Ok(turn);
            }
            if let Some(tell) = waiting.take() {
                tell();
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ConversionError::Cancelled);
            }
            thread::sleep(BEAT);
        }
    }

    /// Returns whether somebody has the turn, or was killed with it.
    #[must_use]
    pub fn is_left(target: &Path) -> bool {
        beside(target, "lock").exists()
    }

    /// Takes the turn if nobody has it.
    pub fn attempt(target: &Path) -> Result<Option<Self>, ConversionError> {
        let path = beside(target, "lock");
        loop {
            let lock = File::options().create(true).truncate(false).write(true).open(&path);
            let lock = lock.map_err(ConversionError::io(&path, "opening the lock"))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(ConversionError::io(&path, "locking it")(errno.into())),
            }
            // Whoever had it before may have removed it with its turn; then this one is nobody's.
            let ours = lock.metadata().map(|m| m.ino()).ok();
            if ours.is_some() && fs::metadata(&path).map(|m| m.ino()).ok() == ours {
                cache::sweep(target);
                return Ok(Some(Self { path, _lock: lock }));
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

#[cfg(test)]
mod tests {
    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let first = Turn::take(&target, &GO, || ()).unwrap();
        assert!(is_in_use(&target) && Turn::attempt(&target).unwrap().is_none());
        let (told, hears) = std::sync::mpsc::channel();
        let second = thread::spawn({
            let target = target.clone();
            move || Turn::take(&target, &GO, || told.send(()).unwrap()).map(drop)
        });
        hears.recv().unwrap();
        drop(first);
        second.join().unwrap().unwrap();
        assert!(!is_in_use(&target));
    }

    #[test]
    fn whoever_waits_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        let _first = Turn::take(&target, &GO, || ()).unwrap();
        let error = Turn::take(&target, &AtomicBool::new(true), || ()).unwrap_err();
        assert!(matches!(error, ConversionError::Cancelled), "{error}");
    }
}
