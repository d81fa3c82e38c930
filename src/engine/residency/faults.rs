//! Memory that runs out when a test wants it to. Without the feature `fakes`, which no program is built with, it never does.

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Memory to compute in, once a block was asked for.
    Loan,
    /// Memory for a block that stays, or for those that pass through.
    Room,
}

#[cfg(not(feature = "fakes"))]
pub(super) fn due(_: Fault) -> Option<crate::units::Bytes> {
    None
}

#[cfg(feature = "fakes")]
pub(super) use armed::due;
#[cfg(feature = "fakes")]
pub use armed::{arm, pending};

#[cfg(feature = "fakes")]
mod armed {
    use std::cell::RefCell;

    use super::Fault;
    use crate::units::Bytes;

    thread_local! {
        static ARMED: RefCell<Vec<(Fault, u64, Bytes)>> = const { RefCell::new(Vec::new()) };
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
