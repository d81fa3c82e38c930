//! At which alert the operator is.

use crate::tui::alerts::{About, Alert};

/// At which alert the operator is. Alerts come and go, so it is held by what it is about, never by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The selected alert; the first where it is gone.
    pub selected: Option<About>,
}

impl State {
    /// Returns the row of the selected alert.
    #[must_use]
    pub fn cursor(&self, all: &[Alert]) -> Option<usize> {
        let at = self.selected.as_ref().and_then(|about| all.iter().position(|alert| alert.about == *about));
        at.or(if all.is_empty() { None } else { Some(0) })
    }
}
