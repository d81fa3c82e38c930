//! The command that does what a key does, for scripts and for those who learn.

use super::model::Model;
use super::screens::{Screen, alerts, cache, detail, overview, sets};
use crate::units::JobId;
use crate::workflow::{JobDraft, command_line, quote};

/// Returns the command that shows or does what is on the screen now.
#[must_use]
pub fn command(model: &Model) -> Option<String> {
    if let Some(confirm) = &model.confirm {
        return confirm.command.clone();
    }
    if model.alarm.is_some() {
        return Some(alerts::update::command(model));
    }
    if let Some(detail) = &model.detail {
        return match &detail.subject {
            detail::Subject::Job(id) => Some(of_jobs("show", &[*id])),
            detail::Subject::Device(_) => Some("perilune devices".to_owned()),
            detail::Subject::Set(..) => Some("perilune sets list".to_owned()),
            detail::Subject::Cached(path) => Some(format!("perilune cache verify {}", quote(&path.to_string_lossy()))),
            detail::Subject::Notice(_) | detail::Subject::Line(_) => None,
        };
    }
    match model.screen {
        Screen::Overview => Some(match model.overview.pane {
            overview::Pane::Devices => "perilune devices".to_owned(),
            overview::Pane::Sets => "perilune sets list".to_owned(),
            overview::Pane::Queue => model.job_at_hand().map_or_else(|| "perilune queue list".to_owned(), |id| of_jobs("show", &[id])),
            overview::Pane::Events => "perilune status".to_owned(),
        }),
        Screen::Devices => Some("perilune devices".to_owned()),
        Screen::Sets => Some(sets::update::command(model)),
        Screen::Cache => Some(of_cache(model)),
        Screen::Gallery => {
            let entry = model.finished.entry(&model.known)?;
            let draft = JobDraft { seed: Some(entry.image()?.seed), batch: Some(1), ..JobDraft::again(&entry.view?.spec) };
            Some(command_line(&draft))
        }
        Screen::Offload => {
            let ask = model.offload.worked.as_ref()?.ask.clone()?;
            Some(command_line(&JobDraft { offload: ask, ..model.offload.draft.clone() }))
        }
        Screen::Queue => Some(model.job_at_hand().map_or_else(|| "perilune queue list".to_owned(), |id| of_jobs("show", &[id]))),
        Screen::Compose => {
            let (draft, problems) = model.compose.draft();
            problems.is_empty().then(|| command_line(&draft))
        }
        Screen::Log => None,
    }
}

/// Returns the command that lists what was made of the source at hand.
fn of_cache(model: &Model) -> String {
    match model.cache.at_hand(&model.known) {
        Some(cache::Row::File(file)) => match &file.source {
            Some(source) => format!("perilune cache list --source {}", quote(&source.to_string_lossy())),
            None => "perilune cache list".to_owned(),
        },
        Some(cache::Row::Conversion(_)) => "perilune conversions list".to_owned(),
        None => "perilune cache list".to_owned(),
    }
}

/// Returns `perilune queue VERB ID…`.
#[must_use]
pub fn of_jobs(verb: &str, jobs: &[JobId]) -> String {
    let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    format!("perilune queue {verb} {}", ids.join(" "))
}
