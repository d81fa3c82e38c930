//! What operators want of loaded sets. The reader thread writes it down at once; the compute thread looks between two steps.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::workflow::SetId;

/// Shared between both threads.
#[derive(Debug, Clone, Default)]
pub struct Wishes(Arc<Mutex<Wanted>>);

#[derive(Debug, Default)]
struct Wanted {
    pinned: BTreeSet<SetId>,
    leaving: Vec<SetId>,
}

impl Wishes {
    /// Has a set stay, loaded or not yet.
    pub fn pin(&self, set: SetId) {
        self.wanted().pinned.insert(set);
    }

    /// Lets a set leave again.
    pub fn unpin(&self, set: &SetId) {
        self.wanted().pinned.remove(set);
    }

    /// Has a set leave once no run uses it.
    pub fn unload(&self, set: SetId) {
        self.wanted().leaving.push(set);
    }

    /// Returns whether a set is to stay.
    #[must_use]
    pub fn is_pinned(&self, set: &SetId) -> bool {
        self.wanted().pinned.contains(set)
    }

    /// Returns the sets that are to leave, once.
    #[must_use]
    pub fn take_leaving(&self) -> Vec<SetId> {
        std::mem::take(&mut self.wanted().leaving)
    }

    /// Nothing that panics is done under this lock.
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
