//! Memory that results lie in on their way to the disk: a ring of it, used again and again, whatever is converted.
//!
//! Every byte lies in its tray as far behind a page's start as it will in its file, so that whole pages can go to the disk
//! without the page cache's help.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use memmap2::{Advice, MmapMut};

use super::pipeline::BEAT;

/// All trays together, about; there are at least as many as somebody may need at once.
const TOGETHER: usize = 64 << 20;

/// The largest tray: more at once makes no disk faster.
const LARGEST: usize = 4 << 20;

/// The smallest: less at once makes them slower. Large pages have half of it again.
const SMALLEST: usize = 1 << 20;

/// Bytes of a file, and memory for more of them.
#[derive(Debug)]
pub struct Tray {
    memory: MmapMut,
    start: u64,
    lead: usize,
    held: usize,
}

impl Tray {
    fn new(size: usize) -> io::Result<Self> {
        let memory = MmapMut::map_anon(size)?;
        if let Err(error) = memory.advise(Advice::HugePage) {
            tracing::debug!("trays are in small pages: {error}");
        }
        Ok(Self { memory, start: 0, lead: 0, held: 0 })
    }

    /// Empties it, for bytes that begin here in their file.
    fn begin(&mut self, start: u64, page: u64) {
        (self.start, self.lead, self.held) = (start, (start % page) as usize, 0);
    }

    /// Returns the memory that is not filled yet.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.lead + self.held..]
    }

    /// Says that so many bytes of the room are filled.
    pub fn fill(&mut self, bytes: usize) {
        self.held += bytes;
    }

    /// Returns where its bytes begin in their file.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.lead..self.lead + self.held]
    }
}

/// The trays that nobody fills or writes at the moment.
#[derive(Debug)]
pub struct Trays {
    free: Mutex<Vec<Tray>>,
    given: Condvar,
    page: u64,
}

impl Trays {
    /// Returns so many trays. Pages of the file system have this size, which is a power of two.
    pub fn new(count: usize, page: u64) -> io::Result<Self> {
        let size = (TOGETHER / count.max(1)).clamp(SMALLEST, LARGEST) / SMALLEST * SMALLEST;
        let free = (0..count).map(|_| Tray::new(size.max(2 * page as usize))).collect::<io::Result<_>>()?;
        Ok(Self { free: Mutex::new(free), given: Condvar::new(), page })
    }

    /// Waits for a tray, for bytes that begin here in their file. Nothing where it is over meanwhile.
    pub fn take(&self, start: u64, is_over: impl Fn() -> bool) -> Option<Tray> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if is_over() {
                return None;
            }
            if let Some(mut tray) = free.pop() {
                tray.begin(start, self.page);
                return Some(tray);
            }
            free = self.given.wait_timeout(free, BEAT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives a tray back.
    pub fn give(&self, tray: Tray) {
        // The one that was used last is still in the processor's caches.
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(tray);
        self.given.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_as_far_behind_a_page_as_in_their_file() {
        let trays = Trays::new(2, 4096).unwrap();
        let mut tray = trays.take(3 * 4096 + 5, || false).unwrap();
        assert!(tray.bytes().is_empty());
        tray.room()[..3].copy_from_slice(b"abc");
        tray.fill(3);
        assert_eq!((tray.start(), tray.bytes()), (3 * 4096 + 5, b"abc".as_slice()));
        assert_eq!(tray.bytes().as_ptr().addr() % 4096, 5);
        let room = tray.room().len();
        trays.give(tray);
        assert_eq!(trays.take(0, || false).unwrap().room().len(), room + 8);
    }

    #[test]
    fn whoever_waits_for_a_tray_gets_the_next_or_hears_that_it_is_over() {
        let trays = Trays::new(1, 4096).unwrap();
        let tray = trays.take(0, || false).unwrap();
        assert!(trays.take(0, || true).is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| trays.take(7, || false).map(|tray| tray.start()));
            trays.give(tray);
            assert_eq!(waits.join().unwrap(), Some(7));
        });
    }

    #[test]
    fn many_trays_take_little_each() {
        assert!(Trays::new(400, 4096).unwrap().take(0, || false).unwrap().room().len() <= SMALLEST);
        assert_eq!(Trays::new(2, 4096).unwrap().take(0, || false).unwrap().room().len(), LARGEST);
    }
}
