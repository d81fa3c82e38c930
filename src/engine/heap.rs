//! The C library's heap, where libtorch keeps the processor's tensors.
//!
//! The daemon starts engines with a heap that keeps what is freed
//! (`config::settings::ENGINE_ENVIRONMENT`): at 512² pixels a step
//! of SD1.5 frees and takes gigabytes, and the kernel would clear every page of them again, which is a
//! tenth of the step. So memory goes back here, between the stages of a run, instead of at every free.

#![expect(unsafe_code, reason = "a call of the C library")]

/// Gives free memory back to the system.
pub fn trim() {
    // SAFETY: malloc_trim has no precondition; it takes the allocator's own locks.
    let _whether_anything_was_free = unsafe { libc::malloc_trim(0) };
}
