//! Threads that take parts of blocks from one queue and bring them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A few threads and their queue. Dropped, it forgets what nobody has begun and waits for what somebody has.
#[derive(Debug)]
pub struct Crew<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    parts: VecDeque<T>,
    closed: bool,
}

impl<T: Send + 'static> Crew<T> {
    /// Starts a thread for each of these, which is given one part after another.
    pub fn start(workers: impl IntoIterator<Item = impl FnMut(T) + Send + 'static>) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue { parts: VecDeque::new(), closed: false }), changed: Condvar::new() });
        let mut crew = Self { shared, threads: Vec::new() };
        for (n, mut work) in workers.into_iter().enumerate() {
            let shared = Arc::clone(&crew.shared);
            let work = move || {
                while let Some(part) = shared.next() {
                    work(part);
                }
            };
            crew.threads.push(thread::Builder::new().name(format!("donor-{n}")).spawn(work)?);
        }
        Ok(crew)
    }

    /// Puts these behind what is in the queue.
    pub fn give(&self, parts: impl IntoIterator<Item = T>) {
        lock(&self.shared.queue).parts.extend(parts);
        self.shared.changed.notify_all();
    }
}

impl<T> Shared<T> {
    fn next(&self) -> Option<T> {
        let mut queue = lock(&self.queue);
        loop {
            match queue.parts.pop_front() {
                Some(part) => return Some(part),
                None if queue.closed => return None,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.parts.clear();
        queue.closed = true;
        drop(queue);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that brings weights panicked");
            }
        }
    }
}

/// A block on its way in parts, each of which leaves a `P`.
#[derive(Debug)]
pub struct Arrival<P, E> {
    /// When it was begun.
    pub begun: Instant,
    progress: Mutex<Progress<P, E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress<P, E> {
    missing: usize,
    came: Vec<P>,
    failure: Option<E>,
    is_abandoned: bool,
}

/// A part that somebody works at. Dropped by a panic, it is told of, so that nobody waits for it for ever.
#[derive(Debug)]
pub struct Underway<'a, P, E>(&'a Arrival<P, E>);

impl<P, E> Drop for Underway<'_, P, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.progress).is_abandoned = true;
            self.0.changed.notify_all();
        }
    }
}

impl<P, E> Arrival<P, E> {
    /// Returns the arrival of a block that begins now, in so many parts.
    #[must_use]
    pub fn of(parts: usize) -> Self {
        let progress = Mutex::new(Progress { missing: parts, came: Vec::with_capacity(parts), failure: None, is_abandoned: false });
        Self { begun: Instant::now(), progress, changed: Condvar::new() }
    }

    /// Marks a part as one that this thread works at, until what is returned is dropped.
    #[must_use]
    pub fn underway(&self) -> Underway<'_, P, E> {
        Underway(self)
    }

    /// Hears that a part has come, or cannot. Returns whether it was the last.
    pub fn came(&self, part: Result<P, E>) -> bool {
        let mut progress = lock(&self.progress);
        progress.missing -= 1;
        match part {
            Ok(part) => progress.came.push(part),
            Err(error) => drop(progress.failure.get_or_insert(error)),
        }
        let is_last = progress.missing == 0;
        drop(progress);
        self.changed.notify_all();
        is_last
    }

    /// Waits until every part has come, and returns what they left; the first error where one could not.
    ///
    /// # Panics
    /// Where a thread that worked at a part did.
    pub fn wait(&self) -> Result<Vec<P>, E> {
        let mut progress = lock(&self.progress);
        while progress.missing > 0 && !progress.is_abandoned {
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(!progress.is_abandoned, "a thread that brings weights panicked");
        let came = std::mem::take(&mut progress.came);
        progress.failure.take().map_or(Ok(came), Err)
    }
}

/// Nothing that panics is done under these locks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_and_the_first_error_is_told() {
        let (arrival, lasts) = (Arc::new(Arrival::of(40)), Arc::new(Mutex::new(0)));
        let work = || {
            let lasts = Arc::clone(&lasts);
            move |(n, arrival): (u32, Arc<Arrival<u32, String>>)| *lock(&lasts) += u32::from(arrival.came(Ok(n)))
        };
        let crew = Crew::start([work(), work(), work()]).unwrap();
        crew.give((0..40).map(|n| (n, Arc::clone(&arrival))));
        let mut came = arrival.wait().unwrap();
        came.sort_unstable();
        assert_eq!(came, (0..40).collect::<Vec<_>>());
        drop(crew);
        assert_eq!(*lock(&lasts), 1, "one part is the last");

        let arrival = Arrival::<(), _>::of(3);
        let lasts: Vec<bool> = [Ok(()), Err("short"), Err("late")].into_iter().map(|part| arrival.came(part)).collect();
        assert_eq!((lasts, arrival.wait()), (vec![false, false, true], Err("short")));
    }

    #[test]
    fn nobody_waits_for_a_part_whose_thread_has_panicked() {
        let arrival = Arc::new(Arrival::<(), String>::of(2));
        let work = |(is_sound, arrival): (bool, Arc<Arrival<(), String>>)| {
            let _part = arrival.underway();
            assert!(is_sound, "as the test wants it");
            arrival.came(Ok(()));
        };
        let crew = Crew::start([work, work]).unwrap();
        crew.give([true, false].map(|is_sound| (is_sound, Arc::clone(&arrival))));
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| arrival.wait()));
        assert!(waited.is_err(), "it would have waited for ever");
    }

    #[test]
    fn a_crew_that_is_dropped_has_ended() {
        let counted = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&counted);
        let crew = Crew::start([move |n: u32| *lock(&counter) += n]).unwrap();
        crew.give([1, 2]);
        drop(crew);
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
