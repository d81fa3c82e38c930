//! A weight file mapped for reading.

#![expect(unsafe_code, reason = "mapping a file is unsafe by nature, and so is asking for its pages; the notes below say why it holds")]

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use linux_raw_sys::general::{__NR_cachestat, cachestat, cachestat_range};
use memmap2::{Advice, Mmap};
use rustix::fs::fadvise;

use super::{LibraryError, page_cache, regular};

/// What the kernel maps at one fault of a file's pages, where the page cache has them: `fault_around_bytes`, which is this
/// everywhere but where somebody has set it otherwise.
const WINDOW: usize = 64 << 10;

/// The bytes of a file, without reading them first. Its pages are the page cache's own.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    file: File,
    path: PathBuf,
    written: Option<SystemTime>,
}

impl MappedFile {
    /// Maps the file for reading.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        let file = regular::open(path)?;
        // SAFETY: the map is read-only and private to us. A writer that truncates the file while it is
        // mapped makes reads fault; weight files are replaced by rename in this program and in every
        // loader of the field, and a fault ends only the engine, whose job is then tried again.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| LibraryError::io(path, "mapping it", e))?;
        let written = written(&file);
        Ok(Self { map, file, path: path.to_owned(), written })
    }

    /// Returns the file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Returns where the file was.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether somebody wrote into this file since it was mapped: its bytes may be other ones now. A file that was
    /// put in its place is another file, which the map does not see.
    #[must_use]
    pub fn was_written_into(&self) -> bool {
        written(&self.file) != self.written
    }

    /// Returns whether an open file is the one that is mapped.
    #[must_use]
    pub fn is_still(&self, file: &File) -> bool {
        let identity = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).ok();
        identity(file).is_some() && identity(file) == identity(&self.file)
    }

    /// Has these bytes in memory and their pages in the map, all at once instead of one at each first use. A file that
    /// has become shorter is an error.
    pub fn fetch(&self, start: usize, length: usize) -> Result<(), LibraryError> {
        let populate = |(start, length)| self.map.advise_range(Advice::PopulateRead, start, length);
        // Pages that could not be read count as held, too, and touching one would end the process: as does that of a file that
        // becomes shorter later. A file that another one stands for is not counted, and asked for page by page.
        let is_held =
            pages_in_memory(&self.file, start as u64, length as u64).is_ok_and(|n| n == page_cache::pages_of(start as u64, length as u64));
        let populated =
            if is_held { self.windows(start, length).map(|at| (at, 1)).try_for_each(populate) } else { populate((start, length)) };
        match populated {
            // Kernels before 5.14 do not know it; the pages then come at first use.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => {
                let is_short = self.file.metadata().is_ok_and(|m| m.len() < self.map.len() as u64);
                let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter since it was opened");
                Err(LibraryError::io(&self.path, "reading it", if is_short { short() } else { error }))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns a place in each of the windows of addresses that the kernel maps at a fault where the page cache has their pages: to
    /// ask for one of them takes about half of the time that asking for every page takes. What a kernel that maps less at a
    /// time leaves out comes at first use.
    fn windows(&self, start: usize, length: usize) -> impl Iterator<Item = usize> {
        let base = self.map.as_ptr().addr();
        let next = move |at: &usize| Some((base + at + 1).next_multiple_of(WINDOW) - base);
        std::iter::successors(Some(start), next).take_while(move |at| *at < start + length)
    }

    /// Copies bytes of the file, past the map: a file that has become shorter is an error here, where touching the map could be
    /// a fault at any moment.
    pub fn read(&self, start: u64, into: &mut [u8]) -> Result<(), LibraryError> {
        self.file.read_exact_at(into, start).map_err(|error| {
            let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
            let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter since it was opened");
            LibraryError::io(&self.path, "reading it", if is_short { short() } else { error })
        })
    }

    /// Has bytes of the file on their way into the page cache before they are read; waits for nothing.
    pub fn will_need(&self, start: u64, length: u64) {
        if let Err(errno) = fadvise(&self.file, start, NonZeroU64::new(length), rustix::fs::Advice::WillNeed) {
            tracing::debug!("{}: nothing is read ahead: {errno}", self.path.display());
        }
    }

    /// Gives back the memory that reading these bytes took; the page cache keeps them.
    pub fn done_reading(&self, start: usize, length: usize) {
        // SAFETY: the map is shared with the file and never written, so dropped pages are read again
        // from the page cache; no value changes.
        drop(unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) });
    }
}

/// Returns how many pages of `len` bytes of a file from `off` on the page cache holds: cachestat(2), since Linux 6.5, which
/// tells owners and writers only. It looks at what the cache has, often many pages in one piece, where mincore(2) looks for one
/// page after another: a tenth of the time of a short step.
pub fn pages_in_memory(file: &File, off: u64, len: u64) -> io::Result<u64> {
    let mut range = cachestat_range { off, len };
    let mut found = cachestat { nr_cache: 0, nr_dirty: 0, nr_writeback: 0, nr_evicted: 0, nr_recently_evicted: 0 };
    // SAFETY: the call reads the one and writes the other, both of which outlive it; the file is open while it is borrowed.
    let told = unsafe { libc::syscall(__NR_cachestat.into(), file.as_raw_fd(), &raw mut range, &raw mut found, 0) };
    if told == 0 { Ok(found.nr_cache) } else { Err(io::Error::last_os_error()) }
}

fn written(file: &File) -> Option<SystemTime> {
    file.metadata().and_then(|m| m.modified()).ok()
}
