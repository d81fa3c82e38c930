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
    /// Jobs that the operator takes back, and that are not over yet.
    pub leaving: BTreeSet<JobId>,
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

    /// Returns whether every job that is shown is marked.
    #[must_use]
    pub fn marks_all(&self, known: &Known) -> bool {
        self.shown(known).iter().all(|job| self.marked.contains(&job.job))
    }

    /// Notes that a job is over. Where the operator took it back, the cursor stays at its place, with the next job that is not
    /// over; else it would go down with the job to what is finished.
    pub fn over(&mut self, known: &Known, job: JobId) {
        if !self.leaving.remove(&job) || self.selected != Some(job) {
            return;
        }
        let shown = self.shown(known);
        let Some(at) = shown.iter().position(|j| j.job == job) else { return };
        let stays = |j: &&&JobView| !j.state.is_final() && j.job != job && !self.leaving.contains(&j.job);
        let next = shown[at..].iter().find(stays).or_else(|| shown[..at].iter().rfind(stays));
        self.selected = next.map(|j| j.job).or(self.selected);
    }
}
