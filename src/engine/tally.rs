//! What the engines of a daemon have taken of simulated GPUs, which they share: no budget is overdrawn, to the byte, however
//! many of them ask at once.
//!
//! Each engine has a file in one folder. It holds the file's lock for as long as it lives, and writes there what it has taken.
//! Whoever takes more waits for its turn, which is the folder's lock, and adds up the files whose lock is held. A killed engine's
//! lock is the kernel's to undo, together with its memory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::placement::Share;
use crate::units::{Bytes, DeviceId};

/// How files are called that tell what an engine has taken.
const EXTENSION: &str = "taken";

/// An engine's part in the count.
#[derive(Debug)]
pub struct Tally {
    folder: PathBuf,
    /// Its lock is a turn.
    turns: File,
    /// Two threads of one engine have no lock between them but this.
    here: Mutex<()>,
    path: PathBuf,
    own: File,
}

/// The time in which nobody else takes anything.
#[derive(Debug)]
pub struct Turn<'a> {
    tally: &'a Tally,
    _here: MutexGuard<'a, ()>,
}

impl Tally {
    /// Joins the engines that count in this folder, having taken nothing.
    pub fn join(folder: &Path, engine: DeviceId) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let open = |path: &Path| File::options().read(true).write(true).create(true).truncate(false).open(path);
        let path = folder.join(format!("{}.{EXTENSION}", engine.to_string().replace(':', "-")));
        let (turns, own) = (open(&folder.join("turns.lock"))?, open(&path)?);
        let tally = Self { folder: folder.to_owned(), turns, here: Mutex::default(), path, own };
        {
            let turn = tally.turn()?;
            // One of this name that was killed may still be on its way out.
            tally.own.lock()?;
            turn.write(&[])?;
        }
        Ok(tally)
    }

    /// Waits until nobody else takes anything.
    pub fn turn(&self) -> io::Result<Turn<'_>> {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        self.turns.lock()?;
        Ok(Turn { tally: self, _here: here })
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Turn<'_> {
    /// Returns what other engines have taken that live.
    pub fn others(&self) -> io::Result<Vec<Share>> {
        let mut shares = Vec::new();
        for entry in fs::read_dir(&self.tally.folder)? {
            let path = entry?.path();
            if path == self.tally.path || path.extension().is_none_or(|e| e != EXTENSION) {
                continue;
            }
            let mut file = File::open(&path)?;
            match file.try_lock_shared() {
                // Nobody holds it: its engine is gone.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            shares.extend(text.lines().map(share).collect::<io::Result<Vec<_>>>()?);
        }
        Ok(shares)
    }

    /// Writes what this engine has taken.
    pub fn write(&self, shares: &[Share]) -> io::Result<()> {
        let lines: Vec<String> = shares.iter().map(|share| format!("{} {}\n", share.device, share.bytes.get())).collect();
        let text = lines.concat();
        self.tally.own.set_len(0)?;
        self.tally.own.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.tally.turns.unlock() {
            tracing::error!("a turn at {} could not be ended: {error}", self.tally.folder.display());
        }
    }
}

fn share(line: &str) -> io::Result<Share> {
    let read = |(device, bytes): (&str, &str)| Some(Share { device: device.parse().ok()?, bytes: Bytes(bytes.parse().ok()?) });
    line.split_once(' ')
        .and_then(read)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("`{line}` is no device and bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_are_gone_count_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let join = |n| Tally::join(&folder.path().join("in/here"), DeviceId::Sim(n)).unwrap();
        let taken = |bytes| vec![Share { device: DeviceId::Sim(7), bytes: Bytes(bytes) }];
        let (first, second) = (join(0), join(1));
        first.turn().unwrap().write(&taken(1_000_000)).unwrap();
        first.turn().unwrap().write(&taken(5)).unwrap();
        assert_eq!(second.turn().unwrap().others().unwrap(), taken(5));
        assert_eq!(first.turn().unwrap().others().unwrap(), []);
        drop(first);
        assert_eq!(second.turn().unwrap().others().unwrap(), []);
        // The next of its name begins with nothing, whatever it finds.
        let again = join(0);
        assert_eq!(second.turn().unwrap().others().unwrap(), []);
        fs::write(&again.path, "sim:7 many\n").unwrap();
        assert_eq!(second.turn().unwrap().others().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
