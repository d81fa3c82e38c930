//! What libtorch's allocator of a GPU holds, and the order to give back what it keeps for later.
//!
//! Source: `ATen/DeviceAccelerator.h` of libtorch 2.11; see `allocator.cpp`.

#![expect(unsafe_code, reason = "calls of a few C functions of our own; each says what it writes")]

use crate::units::Bytes;

/// What the allocator of a GPU holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// In tensors now.
    pub allocated: Bytes,
    /// Taken from the driver now: tensors, and what is kept for the next.
    pub reserved: Bytes,
    /// The most that was in tensors since [`forget_peaks`].
    pub most_allocated: Bytes,
    /// The most that was taken from the driver since then.
    pub most_reserved: Bytes,
}

#[repr(C)]
#[derive(Default)]
struct Memory {
    allocated: i64,
    reserved: i64,
    most_allocated: i64,
    most_reserved: i64,
}

// SAFETY: as `allocator.cpp` has them. None keeps what it is given, and none throws.
unsafe extern "C" {
    fn perilune_memory(device: i32, out: *mut Memory) -> i32;
    safe fn perilune_forget_peaks(device: i32) -> i32;
    safe fn perilune_give_back() -> i32;
}

/// Returns what the allocator of the GPU that libtorch numbers so holds; `None` where there is none, or nothing was done there yet.
#[must_use]
pub fn held(index: usize) -> Option<Held> {
    let mut memory = Memory::default();
    // SAFETY: it writes one structure to where it may.
    let told = unsafe { perilune_memory(i32::try_from(index).ok()?, &raw mut memory) };
    let bytes = |n: i64| Bytes(u64::try_from(n).unwrap_or(0));
    (told == 0).then(|| Held {
        allocated: bytes(memory.allocated),
        reserved: bytes(memory.reserved),
        most_allocated: bytes(memory.most_allocated),
        most_reserved: bytes(memory.most_reserved),
    })
}

/// Begins to count the most that is held anew.
pub fn forget_peaks(index: usize) {
    if perilune_forget_peaks(i32::try_from(index).unwrap_or(i32::MAX)) != 0 {
        tracing::debug!("libtorch counts no memory of cuda:{index} yet");
    }
}

/// Gives back to the driver what no tensor uses.
pub fn give_back() {
    if perilune_give_back() != 0 {
        tracing::debug!("libtorch has no GPU to give memory back to");
    }
}
