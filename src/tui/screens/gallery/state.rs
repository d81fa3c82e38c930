//! Which pictures there are, and at which the operator is.
//!
//! Jobs that the snapshot does not hold are listed first and shown one by one, when their place comes into sight.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Beside, FIELDS};
use crate::jobs::{ImageRecord, JobRow, JobState, JobView};
use crate::tui::known::Known;
use crate::tui::widgets::search::Search;
use crate::units::JobId;

/// A picture, or a finished job of which nothing more is known yet.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its job.
    pub job: JobId,
    /// Which of its pictures.
    pub place: usize,
    /// The job, where it is known.
    pub view: Option<&'a JobView>,
}

impl Entry<'_> {
    /// Returns the picture, where its job is known.
    #[must_use]
    pub fn image(&self) -> Option<&ImageRecord> {
        self.view?.images.get(self.place)
    }
}

/// Which pictures there are.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected picture, by job and place; the first where it is gone.
    pub selected: Option<(JobId, usize)>,
    /// Whether it is shown large.
    pub large: bool,
    /// Which pictures are shown.
    pub filter: Search,
    /// Finished jobs, once asked for, the newest first.
    pub listed: Vec<JobRow>,
    /// Those of them that were shown.
    pub older: BTreeMap<JobId, JobView>,
    /// Those that could not be.
    pub unknown: BTreeSet<JobId>,
}

impl State {
    /// Takes in the finished jobs.
    pub fn list(&mut self, mut rows: Vec<JobRow>) {
        rows.sort_by_key(|row| std::cmp::Reverse((row.finished, row.job)));
        self.listed = rows;
    }

    /// Returns the pictures that are shown, the newest first.
    #[must_use]
    pub fn entries<'a>(&'a self, known: &'a Known) -> Vec<Entry<'a>> {
        let of_job = |view: &'a JobView| (0..view.images.len()).map(move |place| Entry { job: view.job, place, view: Some(view) });
        let filter = self.filter.filter(FIELDS);
        let fits = |view: &JobView| view.state == JobState::Done && filter.matches(&Beside::Whole(view, known.now));
        let recent = known.jobs.iter().filter(|j| fits(j)).flat_map(of_job);
        let rest = self.listed.iter().filter(|row| known.job(row.job).is_none() && !self.unknown.contains(&row.job));
        let listed = |row: &JobRow| filter.matches(&Beside::Listed(row, known.now));
        let older = rest.flat_map(|row| match self.older.get(&row.job) {
            Some(view) => of_job(view).take(if fits(view) { usize::MAX } else { 0 }).collect::<Vec<_>>(),
            None => listed(row).then_some(Entry { job: row.job, place: 0, view: None }).into_iter().collect(),
        });
        recent.chain(older).collect()
    }

    /// Returns the place of the selected picture among those shown.
    #[must_use]
    pub fn cursor(&self, entries: &[Entry<'_>]) -> Option<usize> {
        let at = self.selected.and_then(|id| entries.iter().position(|e| (e.job, e.place) == id));
        at.or(if entries.is_empty() { None } else { Some(0) })
    }

    /// Returns the selected picture.
    #[must_use]
    pub fn entry<'a>(&'a self, known: &'a Known) -> Option<Entry<'a>> {
        let entries = self.entries(known);
        self.cursor(&entries).map(|at| entries[at])
    }
}
