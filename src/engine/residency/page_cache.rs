//! What of a mapped file is in memory already.

#![expect(unsafe_code, reason = "asking the kernel about pages, for which there is no wrapper")]

use std::io;
use std::os::fd::AsRawFd;

use linux_raw_sys::general::{__NR_cachestat, cachestat, cachestat_range};

use super::layout::PAGE;
use crate::library::MappedFile;

/// Returns whether the page cache holds all of `length` bytes of the file from `start` on; of what the file has not, it
/// does not. Where the kernel does not tell, as of files of others, it says that it does.
#[must_use]
pub fn holds(map: &MappedFile, start: usize, length: usize) -> bool {
    let Some(bytes) = start.checked_add(length).and_then(|end| map.bytes().get(start..end)) else { return false };
    counted(map, start as u64, length as u64).map_or_else(|_| all_in_memory(bytes), |pages| pages == pages_of(start, length))
}

fn pages_of(start: usize, length: usize) -> u64 {
    ((start + length).div_ceil(PAGE) - start / PAGE) as u64
}

/// Returns how many pages of a range the page cache holds: cachestat(2), since Linux 6.5. It looks at what the cache has,
/// often many pages in one piece, where mincore(2) looks for one page after another: a tenth of the time of a short step.
fn counted(map: &MappedFile, off: u64, len: u64) -> io::Result<u64> {
    let (mut range, mut found) =
        (cachestat_range { off, len }, cachestat { nr_cache: 0, nr_dirty: 0, nr_writeback: 0, nr_evicted: 0, nr_recently_evicted: 0 });
    // SAFETY: the call reads the one and writes the other, both of which outlive it; the file is open as long as its map.
    let told = unsafe { libc::syscall(__NR_cachestat.into(), map.file().as_raw_fd(), &raw mut range, &raw mut found, 0) };
    if told == 0 { Ok(found.nr_cache) } else { Err(io::Error::last_os_error()) }
}

/// Asks page by page.
fn all_in_memory(bytes: &[u8]) -> bool {
    let lead = bytes.as_ptr().addr() % PAGE;
    let length = bytes.len() + lead;
    let mut pages = vec![0u8; length.div_ceil(PAGE)];
    let start = bytes.as_ptr().wrapping_sub(lead).cast_mut();
    // SAFETY: the range lies within a map of whole pages that we borrow, and there is a byte for every page of it;
    // mincore only writes into those.
    let told = unsafe { libc::mincore(start.cast(), length, pages.as_mut_ptr()) };
    told == 0 && pages.iter().all(|page| page & 1 == 1)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Advice, fadvise};

    use super::*;

    #[test]
    fn counting_and_asking_page_by_page_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, vec![7; 40 * PAGE + 100]).unwrap();
        let map = MappedFile::open(&path).unwrap();
        map.file().sync_all().unwrap();
        assert!(holds(&map, 0, 40 * PAGE + 100), "what was just written is there");
        // Where the file system lies in memory, nothing can be dropped; the two must agree all the same.
        fadvise(map.file(), 16 * PAGE as u64, std::num::NonZeroU64::new(8 * PAGE as u64), Advice::DontNeed).unwrap();
        for (start, length) in
            [(0, 1), (0, 16 * PAGE), (5, 16 * PAGE), (17 * PAGE, 100), (20 * PAGE, 8 * PAGE), (24 * PAGE, 16 * PAGE + 100)]
        {
            let asked = all_in_memory(&map.bytes()[start..start + length]);
            assert_eq!(holds(&map, start, length), asked, "{length} from {start}");
            if let Ok(pages) = counted(&map, start as u64, length as u64) {
                assert_eq!(pages == pages_of(start, length), asked, "{length} from {start}: {pages} pages");
            }
        }
        assert!(!holds(&map, 40 * PAGE, 101) && !holds(&map, usize::MAX, 2), "what is not in the file");
    }
}
