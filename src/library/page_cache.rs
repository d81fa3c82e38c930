//! Whether weight files lie in memory already, in the system's page cache.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::PathBuf;

use rustix::fs::fstatfs;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use rustix::param::page_size;

use super::{LibraryError, MappedFile, mapped, regular};
use crate::placement::Files;

/// Between two bytes that are asked for: a file is read in runs of pages, and dropped in runs.
const STRIDE: usize = 64 << 10;

/// The kernel's number for a file system that lies in memory as a whole.
const TMPFS: i64 = 0x0102_1994;

/// Of this share of the bytes it does not matter where they lie: a disk that is twenty times slower than memory takes a fiftieth
/// longer for them, and forecasts are not that sure. A page that was dropped here and there makes no box a cold one.
const SLIGHT: f64 = 0.001;

/// Asks how much of these files can be read without the disk.
pub fn files(paths: &[PathBuf]) -> Result<Files, LibraryError> {
    let (mut held, mut total) = (0, 0);
    for path in paths {
        let file = regular::open(path)?;
        let length = file.metadata().map_err(|e| LibraryError::io(path, "looking at it", e))?.len();
        held += in_memory(&file, length).min(length);
        total += length;
    }
    Ok(of_bytes(held, total))
}

fn of_bytes(held: u64, total: u64) -> Files {
    let missing = (total - held) as f64 / total.max(1) as f64;
    match held {
        _ if missing <= SLIGHT => Files::Cached,
        0 => Files::OnDisk,
        _ => Files::Partly(1.0 - missing),
    }
}

/// Returns how many bytes of a file lie in memory, in whole pages.
fn in_memory(file: &File, length: u64) -> u64 {
    if fstatfs(file).is_ok_and(|about| about.f_type == TMPFS) { length } else { pages(file, 0, length) * page_size() as u64 }
}

/// Returns whether the page cache holds all of `length` bytes of the file from `start` on; of what the file has not, there
/// is nothing.
#[must_use]
pub fn holds(map: &MappedFile, start: usize, length: usize) -> bool {
    let is_within = start.checked_add(length).is_some_and(|end| end <= map.bytes().len());
    is_within && pages(map.file(), start as u64, length as u64) == pages_of(start as u64, length as u64)
}

/// Returns how many pages of such a part of a file lie in memory, all or none where that cannot be counted.
fn pages(file: &File, start: u64, length: u64) -> u64 {
    match mapped::pages_in_memory(file, start, length) {
        Ok(pages @ 1..) => pages,
        // None, it says of a file that another one stands for, as in a container's layers; of a file of somebody else it says
        // nothing, and neither do kernels before 6.5.
        Ok(0) | Err(_) if can_be_read(file, start, length) => pages_of(start, length),
        Ok(0) | Err(_) => 0,
    }
}

/// Returns how many pages such a part of a file touches.
pub(super) fn pages_of(start: u64, length: u64) -> u64 {
    let page = page_size() as u64;
    (start + length).div_ceil(page) - start / page
}

/// Returns whether a file's bytes from `start` on can be read without the disk, as places all over them say. A file system
/// that cannot tell says no. It stops at the first place that is not there: the kernel may read what it is asked for.
fn can_be_read(file: &File, start: u64, length: u64) -> bool {
    let is_there = |at| {
        let mut byte = [0];
        matches!(preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT), Ok(1..) | Err(Errno::INTR))
    };
    (start..start + length).step_by(STRIDE).chain((start + length).checked_sub(1)).all(is_there)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    #[test]
    fn single_pages_that_are_missing_do_not_matter_and_half_of_them_do() {
        assert_eq!((of_bytes(0, 0), of_bytes(9_999, 10_000), of_bytes(0, 10_000)), (Files::Cached, Files::Cached, Files::OnDisk));
        assert_eq!((of_bytes(1, 4), of_bytes(9_980, 10_000)), (Files::Partly(0.25), Files::Partly(0.998)));
    }

    #[test]
    fn what_is_dropped_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, vec![7; 4 << 20]).unwrap();
        let file = regular::open(&path).unwrap();
        file.sync_all().unwrap();
        assert_eq!(files(std::slice::from_ref(&path)).unwrap(), Files::Cached);
        let is_counted = mapped::pages_in_memory(&file, 0, 4 << 20).is_ok();
        if fstatfs(&file).unwrap().f_type == TMPFS || !is_counted {
            return;
        }
        let counted = || mapped::pages_in_memory(&file, 0, 4 << 20).unwrap() * page_size() as u64;
        // The kernel need not drop what it is told to: what it then counts is what is said.
        for length in [2 << 20, 4 << 20] {
            fadvise(&file, 0, NonZeroU64::new(length), Advice::DontNeed).unwrap();
            let expected = of_bytes(counted(), 4 << 20);
            assert_eq!(files(std::slice::from_ref(&path)).unwrap(), expected);
        }
    }

    #[test]
    fn counting_and_trying_to_read_agree() {
        const PAGE: usize = 4096;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, vec![7; 400 * PAGE + 100]).unwrap();
        let map = MappedFile::open(&path).unwrap();
        map.file().sync_all().unwrap();
        assert!(holds(&map, 0, 400 * PAGE + 100), "what was just written is there");
        // Where the file system lies in memory, nothing can be dropped; the two must agree all the same.
        fadvise(map.file(), 160 * PAGE as u64, NonZeroU64::new(80 * PAGE as u64), Advice::DontNeed).unwrap();
        for (start, length) in
            [(0, 1), (0, 160 * PAGE), (5, 160 * PAGE), (170 * PAGE, 100), (200 * PAGE, 80 * PAGE), (240 * PAGE, 160 * PAGE + 100)]
        {
            let tried = can_be_read(map.file(), start as u64, length as u64);
            assert_eq!(holds(&map, start, length), tried, "{length} from {start}");
            if let Ok(pages) = mapped::pages_in_memory(map.file(), start as u64, length as u64) {
                assert_eq!(pages == pages_of(start as u64, length as u64), tried, "{length} from {start}: {pages} pages");
            }
        }
        assert!(!holds(&map, 400 * PAGE, 101) && !holds(&map, usize::MAX, 2), "what is not in the file");
    }
}
