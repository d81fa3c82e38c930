//! Tells of errors: one line that says what is wrong, one that says what to do.

#![expect(clippy::print_stderr, reason = "this is where errors are told")]

use super::output::plain;
use crate::workflow::Refusal;

/// Tells of a refusal and returns its exit code.
#[must_use]
pub fn report(refusal: &Refusal) -> u8 {
    eprintln!("error: {}", plain(&refusal.message));
    if let Some(hint) = &refusal.hint {
        eprintln!("hint: {}", plain(hint));
    }
    refusal.kind.exit_code()
}

/// Tells of something that is no error.
pub fn note(text: &str) {
    eprintln!("{}", plain(text));
}
