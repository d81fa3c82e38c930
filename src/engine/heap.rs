//! The C library's heap, where libtorch keeps the processor's tensors.
//!
//! The daemon starts engines with a heap that keeps what is freed
//! (`config::settings::ENGINE_ENVIRONMENT`): at 512² pixels a step
//! of SD1.5 frees and takes gigabytes, and the kernel would clear every page of them again, which is a
//! tenth of the step. So memory goes back here, between the stages of a run, instead of at every free.

#![expect(unsafe_code, reason = "calls of the C library and of the kernel about memory")]

use rustix::mm::{Advice, madvise};

/// Gives free memory back to the system.
pub fn trim() {
    // SAFETY: malloc_trim has no precondition; it takes the allocator's own locks.
    let _whether_anything_was_free = unsafe { libc::malloc_trim(0) };
}

/// What the kernel hands out at a time.
const PAGE: usize = 4096;

/// Has the kernel find and clear all pages of this memory at once, instead of one at each first write.
pub fn touch(memory: &mut [u8]) {
    let start = memory.as_mut_ptr();
    let lead = start.align_offset(PAGE).min(memory.len());
    let whole = (memory.len() - lead) / PAGE * PAGE;
    if whole == 0 {
        return;
    }
    // SAFETY: the range lies within memory that we borrow exclusively; populating pages changes no value.
    let touched = unsafe { madvise(start.add(lead).cast(), whole, Advice::LinuxPopulateWrite) };
    if let Err(errno) = touched {
        // Kernels before 5.14 do not know it; the pages then come at the first write.
        tracing::debug!("pages could not be had at once: {errno}");
    }
}
