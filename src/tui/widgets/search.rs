//! What rows must be, and the line that it is typed into.

use tui_input::Input;

use super::text_field;
use crate::tui::chord::Chord;
use crate::tui::filter::{self, Field, Filter};

/// What rows must be: words, and where rows have fields what is true of them.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The words, and the cursor among them.
    pub input: Input,
    /// Whether they are being typed.
    pub typing: bool,
}

impl Search {
    /// Returns whether a line holds every word, in any case of letters.
    #[must_use]
    pub fn matches(&self, line: &str) -> bool {
        if self.is_empty() {
            return true;
        }
        let line = line.to_lowercase();
        self.input.value().to_lowercase().split_whitespace().all(|word| line.contains(word))
    }

    /// Returns what rows with these fields must be. What cannot be read lets every row through, until it can be.
    #[must_use]
    pub fn filter(&self, fields: &'static [Field]) -> Filter {
        filter::parse(self.input.value(), fields).unwrap_or_default()
    }

    /// Returns whether there are no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.value().trim().is_empty()
    }

    /// Drops the words. Returns whether there were any.
    pub fn clear(&mut self) -> bool {
        self.typing = false;
        let had = !self.is_empty();
        self.input.reset();
        had
    }

    /// Takes in a key while the words are typed.
    pub fn press(&mut self, chord: Chord) {
        text_field::press(&mut self.input, chord);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_there_in_any_order() {
        let search = Search { input: "Dusk light".into(), typing: false };
        assert!(search.matches("a LIGHThouse at dusk"));
        assert!(!search.matches("a lighthouse at dawn"));
        assert!(Search::default().matches("anything"));
        assert!(Search { input: "  ".into(), typing: true }.matches("anything"));
    }
}
