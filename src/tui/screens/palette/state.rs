//! What is typed into the palette and what was found.

use tui_input::Input;

use super::entries::{self, Entry};
use super::numbers;
use crate::tui::frozen;
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
    /// How many of them were there before anything was typed.
    listed: usize,
    found: Vec<usize>,
    /// Why nothing can be done to jobs that are not shown.
    refusal: Option<String>,
}

impl State {
    /// Returns the palette of what can be done now.
    #[must_use]
    pub fn open(model: &Model) -> Self {
        let entries = entries::all(model);
        let found = (0..entries.len()).collect();
        let refusal = (!model.is_up()).then(|| "the daemon does not answer".to_owned()).or_else(|| frozen::reason(model));
        Self { input: Input::default(), cursor: 0, listed: entries.len(), entries, found, refusal }
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
        self.entries.truncate(self.listed);
        if let Some(entry) = numbers::typed(self.input.value(), &self.entries, self.refusal.as_ref()) {
            // A number means that job, not one whose number is like it.
            self.entries.push(entry);
            self.found = vec![self.listed];
            self.cursor = 0;
            return;
        }
        self.found = fuzzy::rank(self.input.value(), &self.entries, |e| e.words.clone());
        self.cursor = 0;
    }
}
