//! The flags with which an operator reaches into a run: stop it, hold it between two steps, or have its weights live
//! elsewhere from the next step on.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::EngineError;
use crate::placement::OffloadAsk;

/// Shared between the reader thread, which sets it, and the compute thread, which polls it.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<(Mutex<Wanted>, Condvar)>);

#[derive(Debug, Default)]
struct Wanted {
    cancelled: bool,
    paused: bool,
    /// What is to be offloaded from the next step on, in the order in which it was asked.
    budgets: VecDeque<OffloadAsk>,
}

impl CancelFlag {
    /// Stops the run at its next block.
    pub fn cancel(&self) {
        self.change(|w| w.cancelled = true);
    }

    /// Holds the run at its next step.
    pub fn pause(&self) {
        self.change(|w| w.paused = true);
    }

    /// Lets a held run go on.
    pub fn resume(&self) {
        self.change(|w| w.paused = false);
    }

    /// Has weights live elsewhere from the next step on.
    pub fn rebudget(&self, ask: OffloadAsk) {
        self.change(|w| w.budgets.push_back(ask));
    }

    /// Returns what is to be offloaded from now on, the oldest first: once each.
    #[must_use]
    pub fn take_budget(&self) -> Option<OffloadAsk> {
        self.wanted().budgets.pop_front()
    }

    /// Returns an error once the run was taken back.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.wanted().cancelled { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Returns whether the run should be held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.wanted().paused
    }

    /// Waits until the run may go on, or weights are to live elsewhere; an error if it was taken back meanwhile.
    pub fn wait_while_paused(&self) -> Result<(), EngineError> {
        let (lock, changed) = &*self.0;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            changed.wait_while(guard, |w| w.paused && !w.cancelled && w.budgets.is_empty()).unwrap_or_else(PoisonError::into_inner);
        if wanted.cancelled { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    fn change(&self, set: impl FnOnce(&mut Wanted)) {
        let (lock, changed) = &*self.0;
        set(&mut lock.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_run_wakes_for_both_answers() {
        for cancel in [false, true] {
            let flag = CancelFlag::default();
            flag.pause();
            let waiter = flag.clone();
            let thread = std::thread::spawn(move || waiter.wait_while_paused().is_ok());
            if cancel {
                flag.cancel();
            } else {
                flag.resume();
            }
            assert_eq!(thread.join().unwrap(), !cancel);
        }
    }
}
