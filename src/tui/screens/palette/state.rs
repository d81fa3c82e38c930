//! What is typed into the palette and what was found.

use tui_input::Input;

use super::entries::{self, Entry};
use crate::tui::model::Model;
use crate::tui::widgets::fuzzy;

/// The open palette.
#[derive(Debug, Clone)]
pub struct State {
    /// What is typed.
    pub input: Input,
    /// The selected row among those found.
    pub cursor: usize,
    entries: Vec<Entry>,
    found: Vec<usize>,
}

impl State {
    /// Returns the palette of what can be done now.
    #[must_use]
    pub fn open(model: &Model) -> Self {
        let entries = entries::all(model);
        let found = (0..entries.len()).collect();
        Self { input: Input::default(), cursor: 0, entries, found }
    }

    /// Returns the entries that were found, the best first.
    #[must_use]
    pub fn found(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.found.iter().map(|at| &self.entries[*at])
    }

    /// Returns the selected entry.
    #[must_use]
    pub fn selected(&self) -> Option<&Entry> {
        self.found().nth(self.cursor)
    }

    /// Searches again after something was typed.
    pub fn search(&mut self) {
        self.found = fuzzy::rank(self.input.value(), &self.entries, |e| e.words.clone());
        self.cursor = 0;
    }
}
