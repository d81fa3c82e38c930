//! The table of keys as it is used: the rows of [`keymap`](super::keymap), with the keys that the operator gave them.

use super::action::Action;
use super::chord::Chord;
use super::keymap::{BINDINGS, Binding};
use super::layer::Layer;

/// A row of the table, and the keys that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The row.
    pub row: &'static Binding,
    /// Its keys, the one to show first; none where the operator took them away.
    pub keys: Vec<Chord>,
}

impl Bound {
    /// Returns the name of this row in `keys.yaml`, such as `jobs.cancel-job`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.row.layer.name(), self.row.action.name())
    }

    /// Returns the key to show.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        self.keys.first().map(ToString::to_string)
    }

    /// Returns all its keys, as tables and help write them.
    #[must_use]
    pub fn written(&self) -> String {
        self.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// Every key there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub(super) rows: Vec<Bound>,
}

impl Default for Keys {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Keys {
    /// Returns the keys where nobody says otherwise.
    #[must_use]
    pub fn built_in() -> Self {
        // A test reads each key of the table; one that could not be read would do nothing.
        let keys = |row: &Binding| row.keys.iter().filter_map(|key| key.parse().ok()).collect();
        Self { rows: BINDINGS.iter().map(|row| Bound { row, keys: keys(row) }).collect() }
    }

    /// Returns all rows, in the order of footers and help.
    #[must_use]
    pub fn all(&self) -> &[Bound] {
        &self.rows
    }

    /// Returns the rows of a layer.
    pub fn of(&self, layer: Layer) -> impl Iterator<Item = &Bound> {
        self.rows.iter().filter(move |bound| bound.row.layer == layer)
    }

    /// Returns what a key means in a layer.
    #[must_use]
    pub fn resolve(&self, layer: Layer, chord: Chord) -> Option<Action> {
        self.of(layer).find(|bound| bound.keys.contains(&chord)).map(|bound| bound.row.action)
    }

    /// Returns the key to show for an action, looked for in the layers that are open.
    #[must_use]
    pub fn key_of(&self, layers: &[Layer], action: Action) -> Option<String> {
        layers.iter().find_map(|layer| self.of(*layer).filter(|bound| bound.row.action == action).find_map(Bound::shown))
    }

    /// Returns the same for a sentence, where a layer is open upon a screen: the name of the action where it has no key.
    #[must_use]
    pub fn said(&self, layer: Layer, action: Action) -> String {
        self.key_of(&[layer, Layer::Everywhere], action).unwrap_or_else(|| format!("`{}`", action.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_all_its_keys() {
        let keys = Keys::built_in();
        let names: BTreeSet<String> = keys.all().iter().map(Bound::name).collect();
        assert_eq!(names.len(), BINDINGS.len());
        for bound in keys.all() {
            assert_eq!(bound.written(), bound.row.keys.join(" "));
        }
    }

    #[test]
    fn an_action_is_found_by_its_key_and_a_key_by_its_action() {
        let keys = Keys::built_in();
        assert_eq!(keys.resolve(Layer::Everywhere, "end".parse().unwrap()), keys.resolve(Layer::Everywhere, "G".parse().unwrap()));
        assert_eq!(keys.key_of(&[Layer::Queue, Layer::Everywhere], Action::Quit), Some("q".to_owned()));
        assert_eq!(keys.key_of(&[Layer::Queue], Action::Quit), None);
        assert_eq!(
            (keys.said(Layer::Queue, Action::Quit), keys.said(Layer::Queue, Action::Accept)),
            ("q".to_owned(), "`accept`".to_owned())
        );
    }
}
