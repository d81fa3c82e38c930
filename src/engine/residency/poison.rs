//! Staging memory that nobody may use any more is spoilt, where a check of the executor asks for that: whoever reads it too late, or
//! reads what has not come yet, computes with what is no number.

use std::sync::atomic::{AtomicBool, Ordering};

/// The environment variable by which the engine is asked for it.
pub const ASKED_BY: &str = "PERILUNE_POISON_STAGING";

/// What places are filled with behind their blocks. Floats of such bytes are no numbers.
pub const BYTE: u8 = 0xFF;

static IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// Asks for it, from now on and for the whole process.
pub fn ask_for() {
    IS_ASKED_FOR.store(true, Ordering::Relaxed);
}

/// Returns whether somebody did.
#[must_use]
pub fn is_asked_for() -> bool {
    IS_ASKED_FOR.load(Ordering::Relaxed)
}
