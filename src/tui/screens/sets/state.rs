//! At which set or part the operator is.

use super::Menu;
use super::fields::{Beside, FIELDS};
use crate::tui::known::Known;
use crate::tui::widgets::search::Search;
use crate::units::DeviceId;
use crate::wire::SetView;
use crate::wire::status::PartView;
use crate::workflow::SetId;

/// A set, by what it is: another one may have its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub id: SetId,
    /// The device that computes with it.
    pub device: DeviceId,
    /// What it is called.
    pub name: String,
}

impl Target {
    /// Returns what tells a set from all others.
    #[must_use]
    pub fn of(set: &SetView) -> Self {
        Self { id: set.id.clone(), device: set.device, name: set.name.clone() }
    }

    /// Returns whether it is that set.
    #[must_use]
    pub fn is(&self, set: &SetView) -> bool {
        self.id == set.id && self.device == set.device
    }

    /// Returns what no other set can be meant by.
    #[must_use]
    pub fn exact(&self) -> String {
        format!("{}@{}", self.id, self.device)
    }

    /// Returns what it is called on the command line: its name where only one has it, which reads better.
    #[must_use]
    pub fn word(&self, known: &Known) -> String {
        let like = known.sets.iter().filter(|s| s.name == self.name || s.id.0 == self.name).count();
        self.called(like == 1)
    }

    /// Returns what it is called on the command line, where it is known whether it alone has its name.
    #[must_use]
    pub fn called(&self, alone: bool) -> String {
        if alone && !self.name.contains('@') { self.name.clone() } else { self.exact() }
    }

    /// Returns what is known of it.
    #[must_use]
    pub fn view<'a>(&self, known: &'a Known) -> Option<&'a SetView> {
        known.sets.iter().find(|set| self.is(set))
    }
}

/// Where the operator is: a set, and the place of a part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The set.
    pub set: Target,
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
        At { set: Target::of(self.set), part: self.part.map(|(place, _)| place) }
    }

    /// Returns whether it is about that.
    #[must_use]
    pub fn is(&self, at: &At) -> bool {
        at.part == self.part.map(|(place, _)| place) && at.set.is(self.set)
    }
}

/// At which set or part the operator is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected row; the first where it is gone.
    pub selected: Option<At>,
    /// Which rows are shown.
    pub filter: Search,
    /// What is open above the list.
    pub menu: Option<Menu>,
    /// The command that does what was done last, until the operator goes on.
    pub did: Option<String>,
}

impl State {
    /// Returns the rows: each set with its parts below it.
    #[must_use]
    pub fn shown<'a>(&self, known: &'a Known) -> Vec<Row<'a>> {
        let of_set = |set: &'a SetView| {
            let parts = set.components.iter().enumerate().map(move |(place, part)| Row { set, part: Some((place, part)) });
            std::iter::once(Row { set, part: None }).chain(parts)
        };
        let rows = known.sets.iter().flat_map(of_set);
        let filter = self.filter.filter(FIELDS);
        rows.filter(|row| filter.matches(&Beside { row: *row, known })).collect()
    }

    /// Returns the row at which the operator is.
    #[must_use]
    pub fn cursor(&self, shown: &[Row<'_>]) -> Option<usize> {
        let at = self.selected.as_ref().and_then(|at| shown.iter().position(|row| row.is(at)));
        at.or(if shown.is_empty() { None } else { Some(0) })
    }

    /// Returns the set at which the operator is, or at one of whose parts.
    #[must_use]
    pub fn at_hand<'a>(&self, known: &'a Known) -> Option<&'a SetView> {
        // Footers ask for every key: without a filter no rows have to be made.
        if self.filter.is_empty() {
            let selected = self.selected.as_ref().and_then(|at| at.set.view(known));
            return selected.or(known.sets.first());
        }
        let shown = self.shown(known);
        self.cursor(&shown).map(|at| shown[at].set)
    }
}
