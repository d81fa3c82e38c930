//! A weight file mapped for reading.

#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; the notes below say why it holds")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{Advice, Mmap};

use super::{LibraryError, regular};

/// The bytes of a file, without reading them first. Its pages are the page cache's own.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    file: File,
}

impl MappedFile {
    /// Maps the file for reading.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        let file = regular::open(path)?;
        // SAFETY: the map is read-only and private to us. A writer that truncates the file while it is
        // mapped makes reads fault; weight files are replaced by rename in this program and in every
        // loader of the field, and a fault ends only the engine, whose job is then tried again.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| LibraryError::io(path, "mapping it", e))?;
        Ok(Self { map, file })
    }

    /// Returns the file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Reads the bytes from `start` on into memory that is there already. Unlike the map's own, these pages are never
    /// faulted in one by one, and a file that has become shorter is an error.
    pub fn read_into(&self, start: u64, target: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(target, start)
    }

    /// Tells the kernel that these bytes will be read soon, from the first to the last.
    pub fn will_read(&self, start: usize, length: usize) {
        // Advice only: a kernel that does not take it reads a little slower.
        drop(self.map.advise_range(Advice::WillNeed, start, length));
    }

    /// Gives back the memory that reading these bytes took; the page cache keeps them.
    pub fn done_reading(&self, start: usize, length: usize) {
        // SAFETY: the map is shared with the file and never written, so dropped pages are read again
        // from the page cache; no value changes.
        drop(unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) });
    }
}
