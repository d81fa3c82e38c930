//! A weight file that blocks are streamed from: read past the page cache, which does not hold the bytes.
//!
//! Reading past it keeps a model that is larger than the memory from pushing everything else out of the cache, and leaves
//! the copying to the disk. What is in the cache already is not read at all, but used where it lies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Instant;

use super::faults;
use crate::library::{LibraryError, MappedFile};

/// A file to stream from.
#[derive(Debug)]
pub struct DonorFile {
    path: PathBuf,
    buffered: File,
    /// Absent where the file system reads only through the page cache, as one in memory does.
    direct: Option<File>,
}

impl DonorFile {
    /// Opens the file that is mapped.
    pub fn open(mapped: &MappedFile) -> Result<Self, LibraryError> {
        let path = mapped.path().to_owned();
        let open = |flags: i32| OpenOptions::new().read(true).custom_flags(flags | libc::O_NONBLOCK).open(&path);
        let buffered = open(0).map_err(|e| LibraryError::io(&path, "opening it to stream from", e))?;
        let direct = open(libc::O_DIRECT).inspect_err(|e| tracing::debug!("{} is read through the page cache: {e}", path.display())).ok();
        if !mapped.is_still(&buffered) {
            let changed = io::Error::other("another file has taken its place since it was looked at");
            return Err(LibraryError::io(&path, "opening it to stream from", changed));
        }
        Ok(Self { path, buffered, direct })
    }

    /// Reads whole pages from `start` on; of the last ones only `needed` bytes must be there.
    pub fn read(&self, start: u64, target: &mut [u8], needed: usize) -> Result<(), LibraryError> {
        let (file, began) = (self.direct.as_ref().unwrap_or(&self.buffered), Instant::now());
        let read = self.read_from(file, start, target, needed).map_err(|e| LibraryError::io(&self.path, "streaming from it", e));
        faults::dwell(&self.path, began.elapsed());
        read
    }

    /// Reads these bytes, whole pages or not, through the page cache.
    pub fn read_exact(&self, start: u64, target: &mut [u8]) -> Result<(), LibraryError> {
        let needed = target.len();
        self.read_from(&self.buffered, start, target, needed).map_err(|e| LibraryError::io(&self.path, "reading it", e))
    }

    fn read_from(&self, file: &File, start: u64, target: &mut [u8], needed: usize) -> io::Result<()> {
        let mut done = 0;
        while done < needed {
            match file.read_at(&mut target[done..], start + done as u64) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter since it was opened")),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A short read may leave the rest unaligned, which only the page cache takes.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && !std::ptr::eq(file, &raw const self.buffered) => {
                    return self.read_from(&self.buffered, start + done as u64, &mut target[done..], needed - done);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::PAGE;
    use super::*;

    #[test]
    fn reads_that_yield_less_than_was_asked_for_go_on() {
        // The kernel gives out about a page of this file at a time, however much is asked for.
        let path = PathBuf::from("/proc/kallsyms");
        let whole = std::fs::read(&path).unwrap();
        let donor = DonorFile { buffered: File::open(&path).unwrap(), direct: None, path };
        let mut bytes = vec![0; 10 * PAGE];
        assert!(donor.buffered.read_at(&mut bytes, 0).unwrap() < 2 * PAGE);
        donor.read(0, &mut bytes, 10 * PAGE).unwrap();
        assert!(bytes == whole[..10 * PAGE]);
        let end = whole.len() - PAGE;
        let error = donor.read(end as u64, &mut bytes, 2 * PAGE).unwrap_err().to_string();
        assert!(error.contains("/proc/kallsyms") && error.contains("shorter"), "{error}");
    }
}
