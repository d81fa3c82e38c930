//! Host memory of a block's own.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use memmap2::{Advice, MmapMut};

/// What tensors of their own are aligned to.
pub const ALIGNMENT: usize = 64;
/// Less than this is ready sooner than a thread starts.
const WORTH_A_THREAD: usize = 8 << 20;
/// No piece is larger, so that every thread gets some.
const PIECE: usize = 16 << 20;

/// Memory that weights are expanded into. It does not come from the heap, where weights would come to lie between
/// activations: what those leave would be too small for others, and a step would need more than it uses.
#[derive(Debug)]
pub struct Arena {
    memory: MmapMut,
    used: usize,
}

impl Arena {
    /// Reserves memory; its pages come when they are used.
    pub fn new(size: usize) -> io::Result<Self> {
        Ok(Self { memory: MmapMut::map_anon(size.max(1))?, used: 0 })
    }

    /// Has all pages ready at once, on several threads: one by one, at first use, they take longer.
    pub fn populate(&self) {
        let size = self.memory.len();
        let pieces = cut_up(0..size).collect();
        // Advice: kernels before 5.14 do not know it, and what is not ready now will be at first use.
        if let Err(error) = on_threads(pieces, size, |(start, length)| self.memory.advise_range(Advice::PopulateWrite, start, length)) {
            tracing::debug!("memory for weights comes page by page: {error}");
        }
    }

    /// Returns where the next `size` bytes are, aligned as libtorch aligns; `None` where there are not so many left.
    pub fn take(&mut self, size: usize) -> Option<*mut u8> {
        let place = self.memory.get_mut(self.used..self.used.checked_add(size)?)?.as_mut_ptr();
        self.used += size.next_multiple_of(ALIGNMENT);
        Some(place)
    }
}

/// Cuts a range into starts and lengths of what one thread does at a time.
pub fn cut_up(range: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let end = range.end;
    range.step_by(PIECE).map(move |start| (start, PIECE.min(end - start)))
}

/// Does `work` on each item, on as many threads as libtorch computes with where `bytes` are worth it. Returns the first error.
pub fn on_threads<T: Send, E: Send>(items: Vec<T>, bytes: usize, work: impl Fn(T) -> Result<(), E> + Sync) -> Result<(), E> {
    let queue = Mutex::new(items);
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).clamp(1, (bytes / WORTH_A_THREAD).max(1));
    let all = || -> Result<(), E> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(item) = next else { return Ok(()) };
            work(item)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(all)).collect();
        let mine = all();
        others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).fold(mine, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn places_are_aligned_apart_and_within() {
        let mut arena = Arena::new(200).unwrap();
        let places: Vec<usize> = [3, 64, 60].into_iter().map(|size| arena.take(size).unwrap().addr()).collect();
        assert!(places.iter().all(|p| p.is_multiple_of(ALIGNMENT)));
        assert_eq!((places[1] - places[0], places[2] - places[1]), (64, 64));
        assert_eq!((arena.take(9), arena.take(usize::MAX)), (None, None));
    }

    #[test]
    fn every_item_has_its_turn_and_the_error_comes_back() {
        let sum = AtomicUsize::new(0);
        let add = |n: usize| {
            sum.fetch_add(n, Ordering::Relaxed);
            if n == 7 { Err(n) } else { Ok(()) }
        };
        assert_eq!(on_threads((0..7).collect(), usize::MAX, add), Ok(()));
        assert_eq!(sum.load(Ordering::Relaxed), 21);
        assert_eq!(on_threads((0..8).collect(), usize::MAX, add), Err(7));
    }
}
