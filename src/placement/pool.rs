//! A device's memory as a ledger: who takes some holds a grant, and what is dropped is free again.
//!
//! The budget is hard: what does not fit to the byte is refused, with the bytes that were needed and those that are free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::units::{Bytes, DeviceId};

/// The memory of one device. Clones are the same memory.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Ledger>);

#[derive(Debug)]
struct Ledger {
    device: DeviceId,
    capacity: Bytes,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: Bytes,
    most: Bytes,
    elsewhere: Bytes,
}

impl Ledger {
    fn free(&self, state: &State) -> Bytes {
        self.capacity - state.elsewhere - state.used
    }
}

/// There is not so much left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} B of {device} are needed, and {} B are free{}", needed.get(), free.get(), taken(*elsewhere))]
pub struct Full {
    /// The device.
    pub device: DeviceId,
    /// What was to be taken.
    pub needed: Bytes,
    /// What nobody holds.
    pub free: Bytes,
    /// What other processes hold.
    pub elsewhere: Bytes,
}

fn taken(elsewhere: Bytes) -> String {
    if elsewhere == Bytes::ZERO { String::new() } else { format!(": other engines have taken {} B", elsewhere.get()) }
}

/// Memory that is taken until this is dropped.
#[derive(Debug)]
pub struct Grant {
    pool: Pool,
    bytes: Bytes,
}

impl Pool {
    /// Returns the memory of a device, all of it free.
    #[must_use]
    pub fn new(device: DeviceId, capacity: Bytes) -> Self {
        Self(Arc::new(Ledger { device, capacity, state: Mutex::default() }))
    }

    /// Takes memory.
    pub fn take(&self, needed: Bytes) -> Result<Grant, Full> {
        let mut state = self.state();
        let free = self.0.free(&state);
        if needed > free {
            return Err(Full { device: self.0.device, needed, free, elsewhere: state.elsewhere });
        }
        state.used += needed;
        state.most = state.most.max(state.used);
        drop(state);
        Ok(Grant { pool: self.clone(), bytes: needed })
    }

    /// Hears what other processes have taken of it.
    pub fn set_elsewhere(&self, bytes: Bytes) {
        self.state().elsewhere = bytes;
    }

    /// Returns what other processes have taken of it.
    #[must_use]
    pub fn elsewhere(&self) -> Bytes {
        self.state().elsewhere
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.0.device
    }

    /// Returns what is taken.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.state().used
    }

    /// Returns what can still be taken.
    #[must_use]
    pub fn free(&self) -> Bytes {
        self.0.free(&self.state())
    }

    /// Returns the most that was ever taken.
    #[must_use]
    pub fn most(&self) -> Bytes {
        self.state().most
    }

    /// Nothing that panics is done under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grant {
    /// Returns how much it is.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.used = state.used - self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_kept_to_the_byte_and_what_is_dropped_is_free_again() {
        let pool = Pool::new(DeviceId::Sim(0), Bytes(100));
        let first = pool.take(Bytes(60)).unwrap();
        let error = pool.take(Bytes(41)).unwrap_err();
        assert_eq!(error, Full { device: DeviceId::Sim(0), needed: Bytes(41), free: Bytes(40), elsewhere: Bytes::ZERO });
        assert_eq!(error.to_string(), "41 B of sim:0 are needed, and 40 B are free");
        let second = pool.clone().take(Bytes(40)).unwrap();
        assert_eq!((pool.used(), second.bytes()), (Bytes(100), Bytes(40)));
        drop(first);
        pool.set_elsewhere(Bytes(30));
        assert_eq!(pool.take(Bytes(31)).unwrap_err().free, Bytes(30));
        drop(second);
        assert_eq!((pool.used(), pool.most()), (Bytes::ZERO, Bytes(100)));
    }
}
