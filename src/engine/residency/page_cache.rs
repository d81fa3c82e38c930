//! What of a mapped file is in memory already.

use super::layout::PAGE;
use crate::library::mapped::pages_in_memory;
use crate::library::{MappedFile, page_cache};

/// Returns whether the page cache holds all of `length` bytes of the file from `start` on; of what the file has not, there
/// is nothing.
#[must_use]
pub fn holds(map: &MappedFile, start: usize, length: usize) -> bool {
    let is_within = start.checked_add(length).is_some_and(|end| end <= map.bytes().len());
    let counted = if is_within { pages_in_memory(map.file(), start as u64, length as u64) } else { Ok(0) };
    match counted {
        Ok(pages @ 1..) => pages == pages_of(start, length),
        // None, it says of a file that another one stands for, as in a container's layers; of a file of somebody else it says
        // nothing, and neither do kernels before 6.5.
        Ok(0) | Err(_) => is_within && page_cache::holds(map.file(), start as u64, length as u64),
    }
}

fn pages_of(start: usize, length: usize) -> u64 {
    ((start + length).div_ceil(PAGE) - start / PAGE) as u64
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Advice, fadvise};

    use super::*;

    #[test]
    fn counting_and_trying_to_read_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, vec![7; 400 * PAGE + 100]).unwrap();
        let map = MappedFile::open(&path).unwrap();
        map.file().sync_all().unwrap();
        assert!(holds(&map, 0, 400 * PAGE + 100), "what was just written is there");
        // Where the file system lies in memory, nothing can be dropped; the two must agree all the same.
        fadvise(map.file(), 160 * PAGE as u64, std::num::NonZeroU64::new(80 * PAGE as u64), Advice::DontNeed).unwrap();
        for (start, length) in
            [(0, 1), (0, 160 * PAGE), (5, 160 * PAGE), (170 * PAGE, 100), (200 * PAGE, 80 * PAGE), (240 * PAGE, 160 * PAGE + 100)]
        {
            let tried = page_cache::holds(map.file(), start as u64, length as u64);
            assert_eq!(holds(&map, start, length), tried, "{length} from {start}");
            if let Ok(pages) = pages_in_memory(map.file(), start as u64, length as u64) {
                assert_eq!(pages == pages_of(start, length), tried, "{length} from {start}: {pages} pages");
            }
        }
        assert!(!holds(&map, 400 * PAGE, 101) && !holds(&map, usize::MAX, 2), "what is not in the file");
    }
}
