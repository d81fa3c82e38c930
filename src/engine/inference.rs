//! Computing of which nobody asks for gradients.
//!
//! Source: `c10/core/InferenceMode.h` of libtorch 2.11; see `inference.cpp`.

#![expect(unsafe_code, reason = "calls of two C functions of our own; each says who owns what")]

use std::ffi::c_void;
use std::marker::PhantomData;

// SAFETY: as `inference.cpp` has them. Neither throws.
unsafe extern "C" {
    safe fn perilune_enter_inference() -> *mut c_void;
    fn perilune_leave_inference(mode: *mut c_void);
}

/// The mode of this thread, until it is dropped. Those of one thread are dropped in the opposite order.
struct Mode(*mut c_void, PhantomData<*const ()>);

impl Drop for Mode {
    fn drop(&mut self) {
        // SAFETY: it was entered on this thread, which it cannot leave, and is left once.
        unsafe { perilune_leave_inference(self.0) }
    }
}

/// Does this work in libtorch's inference mode: no operation passes through what records gradients, or counts the versions of
/// tensors. Its results are the same bits. What is made in it is not to be changed in place outside.
pub fn infer<T>(work: impl FnOnce() -> T) -> T {
    let _mode = Mode(perilune_enter_inference(), PhantomData);
    work()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use tch::{Device, Kind, Tensor};

    use super::*;

    fn is_inference() -> bool {
        Tensor::zeros([1], (Kind::Float, Device::Cpu)).f_is_inference().unwrap()
    }

    #[test]
    fn the_mode_is_of_the_work_and_ends_with_it_whatever_happens() {
        assert!(!is_inference());
        infer(|| {
            assert!(is_inference());
            infer(|| assert!(is_inference()));
            assert!(is_inference());
        });
        assert!(!is_inference());
        let failed = catch_unwind(|| infer(|| assert!(!is_inference(), "said on purpose")));
        assert!(failed.is_err() && !is_inference());
    }
}
