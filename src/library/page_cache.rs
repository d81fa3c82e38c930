//! Whether weight files lie in memory already, in the system's page cache.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::PathBuf;

use rustix::fs::fstatfs;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::{LibraryError, regular};
use crate::placement::Files;

/// Between two bytes that are asked for: a file is read in runs of pages, and dropped in runs.
const STRIDE: usize = 64 << 10;

/// The kernel's number for a file system that lies in memory as a whole.
const TMPFS: i64 = 0x0102_1994;

/// Asks of places all over these files whether they can be read without the disk. Reads nothing that is not there.
pub fn files(paths: &[PathBuf]) -> Result<Files, LibraryError> {
    for path in paths {
        let file = regular::open(path)?;
        if fstatfs(&file).is_ok_and(|about| about.f_type == TMPFS) {
            continue;
        }
        let length = file.metadata().map_err(|e| LibraryError::io(path, "looking at it", e))?.len();
        if !holds(&file, 0, length) {
            return Ok(Files::OnDisk);
        }
    }
    Ok(Files::Cached)
}

/// Returns whether a file's bytes from `start` on can be read without the disk, as places all over them say. A file system
/// that cannot tell says no.
#[must_use]
pub fn holds(file: &File, start: u64, length: u64) -> bool {
    let is_there = |at| {
        let mut byte = [0];
        matches!(preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT), Ok(1..) | Err(Errno::INTR))
    };
    (start..start + length).step_by(STRIDE).chain((start + length).checked_sub(1)).all(is_there)
}
