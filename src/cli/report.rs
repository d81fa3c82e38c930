//! Tells of errors: one line that says what is wrong, one that says what to do.

#![expect(clippy::print_stderr, reason = "this is where errors are told")]

use crate::workflow::Refusal;

/// Tells of a refusal and returns its exit code.
#[must_use]
pub fn report(refusal: &Refusal) -> u8 {
    eprintln!("error: {}", in_one_line(&refusal.message));
    if let Some(hint) = &refusal.hint {
        eprintln!("hint: {}", in_one_line(hint));
    }
    refusal.kind.exit_code()
}

/// Tells of something that is no error.
pub fn note(text: &str) {
    eprintln!("{}", in_one_line(text));
}

/// File names and other programs' words may hold characters that a terminal would obey.
fn in_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
