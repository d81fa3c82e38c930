//! At which set or part the operator is.

use crate::tui::known::Known;
use crate::tui::widgets::search::Search;
use crate::units::DeviceId;
use crate::wire::SetView;
use crate::wire::status::PartView;

/// Where the operator is: a set by name and device, and the place of a part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The set's name.
    pub name: String,
    /// The device that computes with it.
    pub device: DeviceId,
    /// Which of its parts; nothing for the set as a whole.
    pub part: Option<usize>,
}

/// One row: a set, or a part of it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The set.
    pub set: &'a SetView,
    /// The part and its place; nothing for the set as a whole.
    pub part: Option<(usize, &'a PartView)>,
}

impl Row<'_> {
    /// Returns what it is about.
    #[must_use]
    pub fn at(&self) -> At {
        At { name: self.set.name.clone(), device: self.set.device, part: self.part.map(|(place, _)| place) }
    }
}

/// At which set or part the operator is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected row; the first where it is gone.
    pub selected: Option<At>,
    /// Which rows are shown.
    pub filter: Search,
}

impl State {
    /// Returns the rows: each set with its parts below it.
    #[must_use]
    pub fn shown<'a>(&self, known: &'a Known) -> Vec<Row<'a>> {
        let of_set = |set: &'a SetView| {
            let parts = set.components.iter().enumerate().map(move |(place, part)| Row { set, part: Some((place, part)) });
            std::iter::once(Row { set, part: None }).chain(parts)
        };
        known.sets.iter().flat_map(of_set).filter(|row| self.filter.matches(&haystack(row))).collect()
    }

    /// Returns the row at which the operator is.
    #[must_use]
    pub fn cursor(&self, shown: &[Row<'_>]) -> Option<usize> {
        let at = self.selected.as_ref().and_then(|at| shown.iter().position(|row| row.at() == *at));
        at.or(if shown.is_empty() { None } else { Some(0) })
    }

    /// Returns the row at which the operator is.
    #[must_use]
    pub fn at_hand<'a>(&self, known: &'a Known) -> Option<Row<'a>> {
        let shown = self.shown(known);
        self.cursor(&shown).map(|at| shown[at])
    }
}

/// What the filter looks at. A part is found by the name of its set, too.
fn haystack(row: &Row<'_>) -> String {
    let SetView { name, family, device, .. } = row.set;
    match row.part {
        None => format!("{name} {family} {device}"),
        Some((_, part)) => format!("{name} {family} {} {} {}", part.role.name(), part.precision, part.device),
    }
}
