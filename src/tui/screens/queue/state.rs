//! Which job the operator is at. Jobs are held by number, never by row: rows move.

use std::collections::BTreeSet;

use super::fields::{FIELDS, Row};
use crate::jobs::JobView;
use crate::tui::known::Known;
use crate::tui::widgets::search::Search;
use crate::units::JobId;

/// Which job the operator is at.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected job; the first where it is gone.
    pub selected: Option<JobId>,
    /// Jobs that the next verb is for.
    pub marked: BTreeSet<JobId>,
    /// Which jobs are shown.
    pub filter: Search,
}

impl State {
    /// Returns the jobs that are shown.
    #[must_use]
    pub fn shown<'a>(&self, known: &'a Known) -> Vec<&'a JobView> {
        let filter = self.filter.filter(FIELDS);
        known.jobs.iter().filter(|job| filter.matches(&Row { job, known })).collect()
    }

    /// Returns the row of the selected job among those shown.
    #[must_use]
    pub fn cursor(&self, shown: &[&JobView]) -> Option<usize> {
        if shown.is_empty() {
            return None;
        }
        let at = self.selected.and_then(|id| shown.iter().position(|j| j.job == id));
        Some(at.unwrap_or(0))
    }
}
