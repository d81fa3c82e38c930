//! What keys do in the list of jobs.

use crate::jobs::JobView;
use crate::theme::Role;
use crate::tui::action::Motion;
use crate::tui::model::Model;
use crate::tui::taking_back;
use crate::units::JobId;

/// Goes to another row.
pub fn go(model: &mut Model, motion: Motion) {
    let shown = model.queue.shown(&model.known);
    let Some(at) = model.queue.cursor(&shown) else { return };
    let page = usize::from(model.size.1).saturating_sub(6);
    let to = shown[motion.row(at, shown.len(), page)].job;
    model.queue.selected = Some(to);
}

/// Marks the selected job, or unmarks it, and goes on to the next.
pub fn mark(model: &mut Model) {
    let Some(job) = model.job_at_hand() else { return };
    if !model.queue.marked.remove(&job) {
        model.queue.marked.insert(job);
    }
    go(model, Motion::Down);
}

/// Marks every job that is shown, or unmarks all where all are marked.
pub fn mark_all(model: &mut Model) {
    if model.queue.marks_all(&model.known) {
        model.queue.marked.clear();
        return;
    }
    let shown: Vec<JobId> = model.queue.shown(&model.known).iter().map(|j: &&JobView| j.job).collect();
    model.queue.marked.extend(shown);
    let unseen = model.known.unseen_waiting();
    if unseen > 0 {
        model.toast(Role::Warn, format!("{} not marked: perilune queue list shows all", taking_back::more_wait(unseen)));
    }
}

/// Returns what is worth copying of a job: its picture's path, or its prompt.
#[must_use]
pub fn value(model: &Model, id: JobId) -> Option<String> {
    let job = model.known.job(id)?;
    let picture = job.images.first().map(|i| i.path.display().to_string());
    picture.or_else(|| Some(job.spec.prompt.clone()).filter(|p| !p.is_empty()))
}
