//! Which keys the help shows.

use crate::tui::keymap::{self, Binding, Layer};
use crate::tui::widgets::search::Search;

/// Which keys the help shows.
#[derive(Debug, Clone)]
pub struct State {
    /// The layers that were open when help was asked for, and those that hold everywhere.
    pub layers: Vec<Layer>,
    /// The first row that is shown.
    pub scroll: usize,
    /// Which rows are shown.
    pub search: Search,
}

/// One row of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The heading of a layer.
    Title(Layer),
    /// A key.
    Key(&'static Binding),
}

impl State {
    /// Returns the help of these layers.
    #[must_use]
    pub fn of(mut layers: Vec<Layer>) -> Self {
        // What is typed into a form belongs to the form's help.
        if layers.contains(&Layer::Compose) {
            layers.extend([Layer::Edit, Layer::Pick]);
        }
        // So do the lists that open above a screen.
        if layers.contains(&Layer::Cache) {
            layers.extend([Layer::Rules, Layer::Pick]);
        }
        if layers.contains(&Layer::Sets) {
            layers.extend([Layer::Stays, Layer::Pick]);
        }
        if layers.contains(&Layer::Devices) {
            layers.push(Layer::Signals);
        }
        Self { layers, scroll: 0, search: Search::default() }
    }

    /// Returns the rows to show.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for layer in &self.layers {
            let found: Vec<&Binding> = keymap::of(*layer).filter(|b| self.search.matches(&haystack(b))).collect();
            if !found.is_empty() {
                rows.push(Row::Title(*layer));
                rows.extend(found.into_iter().map(Row::Key));
            }
        }
        rows
    }
}

fn haystack(binding: &Binding) -> String {
    format!("{} {} {}", binding.keys.join(" "), binding.label, binding.about)
}
