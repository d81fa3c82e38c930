//! Tells of errors: one line that says what is wrong, one that says what to do.

use std::io::Write;

use super::output::plain;
use crate::workflow::Refusal;

/// Tells of a refusal and returns its exit code.
#[must_use]
pub fn report(refusal: &Refusal) -> u8 {
    note(&format!("error: {}", refusal.message));
    if let Some(hint) = &refusal.hint {
        note(&format!("hint: {hint}"));
    }
    refusal.kind.exit_code()
}

/// Tells of a refusal that keeps nothing from being done, and of what is done instead.
pub fn warn(instead: &str, refusal: &Refusal) {
    note(&format!("warning: {instead}: {}", refusal.message));
    if let Some(hint) = &refusal.hint {
        note(&format!("hint: {hint}"));
    }
}

/// Tells of something that is no error. Where nobody can be told, on a full disk or a closed pipe, the exit code still tells
/// how it ended.
pub fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "{}", plain(text)));
}
