//! Questions before jobs and conversions are taken back.

use super::action::{Action, JobVerb};
use super::layer::Layer;
use super::model::{Confirm, Model, Then};
use super::screens::{Screen, cache};
use super::{twin, wording};
use crate::units::JobId;

/// Asks whether every waiting job is to be taken back.
pub fn all_that_wait(model: &mut Model) {
    model.confirm = Some(Confirm {
        question: format!("Cancel {}?", wording::count(model.known.waiting(), "waiting job")),
        consequence: "Jobs that run go on.".to_owned(),
        command: None,
        list: Vec::new(),
        scroll: 0,
        then: Then::CancelWaiting,
    });
}

/// Says that so many jobs wait which are not shown, as the beginning of a sentence.
#[must_use]
pub fn more_wait(unseen: u64) -> String {
    if unseen == 1 { "1 more waits and is".to_owned() } else { format!("{unseen} more wait and are") }
}

/// Asks whether these jobs are to be taken back.
pub fn these(model: &mut Model, jobs: Vec<JobId>) {
    let active = jobs.iter().filter_map(|id| model.known.job(*id)).find(|j| j.state.is_active());
    let question = match jobs[..] {
        [only] => format!("Cancel job {only}?"),
        _ => format!("Cancel {}?", wording::count(jobs.len() as u64, "job")),
    };
    let consequence = match active.map(|j| (j.job, j.progress)) {
        _ if matches!(jobs[..], [only] if model.known.job(only).is_none()) => "It is not among the jobs that are shown here.".to_owned(),
        Some((id, Some(p))) => format!("Job {id} is at step {} of {}; what it made so far is lost.", p.step, p.steps),
        Some((id, None)) => format!("Job {id} is being worked on; what it made so far is lost."),
        None => format!("{} tries a cancelled job again.", model.options.keys.said(Layer::Jobs, Action::Job(JobVerb::Retry))),
    };
    let unseen = model.known.unseen_waiting();
    let are_all = jobs.len() > 1 && model.queue.marks_all(&model.known);
    let consequence = if are_all && unseen > 0 { format!("{consequence} {} not among them.", more_wait(unseen)) } else { consequence };
    let command = Some(twin::of_jobs("cancel", &jobs));
    model.confirm = Some(Confirm { question, consequence, command, list: Vec::new(), scroll: 0, then: Then::Cancel(jobs) });
}

/// Asks about the conversion that the job at hand waits for, or the first.
pub fn a_conversion(model: &mut Model) {
    let all = &model.known.conversions;
    let at_hand = match model.cache.selected {
        Some(cache::At::Conversion(id)) if model.screen == Screen::Cache => all.iter().find(|c| c.id == id),
        _ => model.job_at_hand().and_then(|job| all.iter().find(|c| c.jobs.contains(&job))),
    };
    let Some(conversion) = at_hand.or_else(|| all.first()) else { return };
    let consequence = match conversion.jobs.len() {
        0 => "Who asked for it is told so. What is done is kept for the next try.".to_owned(),
        1 => "The job that waits for it fails. What is done is kept for the next try.".to_owned(),
        n => format!("The {n} jobs that wait for it fail. What is done is kept for the next try."),
    };
    model.confirm = Some(Confirm {
        question: format!("Cancel the conversion of {} to {}?", wording::file_name(&conversion.source), conversion.to),
        consequence,
        command: Some(format!("perilune conversions cancel {}", conversion.id)),
        list: Vec::new(),
        scroll: 0,
        then: Then::CancelConversion(conversion.id),
    });
}
