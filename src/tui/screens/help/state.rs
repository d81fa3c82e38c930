//! Which keys the help shows.

use crate::tui::keys::{Bound, Keys};
use crate::tui::layer::Layer;
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
pub enum Row<'a> {
    /// The heading of a layer.
    Title(Layer),
    /// A key.
    Key(&'a Bound),
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
    pub fn rows<'a>(&self, keys: &'a Keys) -> Vec<Row<'a>> {
        let mut rows = Vec::new();
        for layer in &self.layers {
            let bound = keys.of(*layer).filter(|bound| !bound.keys.is_empty());
            let found: Vec<&Bound> = bound.filter(|bound| self.search.matches(&haystack(bound))).collect();
            if !found.is_empty() {
                rows.push(Row::Title(*layer));
                rows.extend(found.into_iter().map(Row::Key));
            }
        }
        rows
    }
}

fn haystack(bound: &Bound) -> String {
    format!("{} {} {} {}", bound.written(), bound.name(), bound.row.label, bound.row.about)
}
