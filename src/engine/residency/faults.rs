//! Memory that runs out, donors that take nothing and files that are slow when a test wants it. Without the feature `fakes`,
//! which no program is built with, none of it ever happens.

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Memory to compute in, once a block was asked for.
    Loan,
    /// Memory for a block that stays, or for those that pass through.
    Room,
    /// A donor in memory that holds nothing of what was planned for it: its blocks come from the disk.
    Donor,
}

#[cfg(not(feature = "fakes"))]
pub(super) fn due(_: Fault) -> Option<crate::units::Bytes> {
    None
}

/// Lets a read from this file take longer than it took.
#[cfg(not(feature = "fakes"))]
pub(super) fn dwell(_: &std::path::Path, _: std::time::Duration) {}

#[cfg(feature = "fakes")]
pub use armed::{arm, pending, slow};
#[cfg(feature = "fakes")]
pub(super) use armed::{due, dwell};

#[cfg(feature = "fakes")]
mod armed {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use super::Fault;
    use crate::units::Bytes;

    thread_local! {
        static ARMED: RefCell<Vec<(Fault, u64, Bytes)>> = const { RefCell::new(Vec::new()) };
    }

    /// Files that are slow on every thread, and how many times.
    static SLOW: Mutex<Vec<(PathBuf, u32)>> = Mutex::new(Vec::new());

    /// Has every read from a file take so many times as long from now on.
    pub fn slow(path: &Path, times: u32) {
        let mut slow = SLOW.lock().unwrap_or_else(PoisonError::into_inner);
        slow.retain(|(known, _)| known != path);
        slow.push((path.to_owned(), times));
    }

    /// Waits for as long as a read from a slow file would still take.
    pub(crate) fn dwell(path: &Path, took: Duration) {
        let times = SLOW.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(slow, _)| slow == path).map(|(_, times)| *times);
        if let Some(times) = times {
            std::thread::sleep(took * times.saturating_sub(1));
        }
    }

    /// Has memory run out on this thread: `at` says the how manieth time, from 0, and how much is then said to be missing.
    pub fn arm(fault: Fault, at: &[(u64, Bytes)]) {
        ARMED.with_borrow_mut(|armed| {
            armed.retain(|(f, ..)| *f != fault);
            armed.extend(at.iter().map(|(n, bytes)| (fault, *n, *bytes)));
        });
    }

    /// Returns how many failures are still to come on this thread.
    #[must_use]
    pub fn pending() -> usize {
        ARMED.with_borrow(Vec::len)
    }

    /// Counts one more time, and returns what is missing if this is the time.
    pub(crate) fn due(fault: Fault) -> Option<Bytes> {
        ARMED.with_borrow_mut(|armed| {
            let now = armed.iter().position(|(f, n, _)| *f == fault && *n == 0).map(|at| armed.remove(at).2);
            armed.iter_mut().filter(|(f, ..)| *f == fault).for_each(|(_, n, _)| *n = n.saturating_sub(1));
            now
        })
    }
}
