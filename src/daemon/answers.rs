//! What follows the ledger's answers.

use super::core::Core;
use super::input::Ticket;
use super::output::Output;
use super::pending::Pending;
use super::{calibrations, handlers, reports, snapshot};
use crate::jobs::JobView;
use crate::ledger::{Answer, Entry, LedgerError};
use crate::wire::{Change, Reply};
use crate::workflow::Refusal;

/// Takes in an answer of the ledger.
pub(super) fn answered(core: &mut Core, ticket: Ticket, result: Result<Answer, LedgerError>) {
    let Some(pending) = core.pending.remove(&ticket) else { return };
    match result {
        Ok(answer) => go_on(core, pending, answer),
        Err(error) => give_up(core, pending, &error),
    }
}

/// Tells whoever waits that it takes longer; what was asked for happens all the same.
pub(super) fn delayed(core: &mut Core, ticket: Ticket, refusal: Refusal) {
    if let Some(asker) = core.pending.get_mut(&ticket).and_then(Pending::take_asker) {
        core.answer(asker, Err(refusal));
    }
}

fn go_on(core: &mut Core, pending: Pending, answer: Answer) {
    match (pending, answer) {
        (Pending::Append(asker), Answer::Jobs { entries, views }) => handlers::submit::appended(core, asker, entries, views),
        (Pending::Change(asker), Answer::Jobs { entries, views }) => {
            tell(core, &entries, views);
            if let Some((asker, jobs)) = asker {
                core.answer(asker, Ok(Reply::Changed(jobs)));
            }
        }
        (Pending::Change(Some((asker, jobs))), Answer::Done) => core.answer(asker, Ok(Reply::Changed(jobs))),
        (Pending::Setting(asker), Answer::Done) => core.answer(asker, Ok(Reply::Done)),
        (Pending::RetryCheck(asker), Answer::Jobs { entries, .. }) => handlers::retry::checked(core, asker, &entries),
        (Pending::Retry(asker, before), Answer::Jobs { entries, views }) => handlers::retry::retried(core, asker, &before, entries, views),
        (Pending::Explain(asker, verb), Answer::Jobs { entries, .. }) => handlers::explain(core, asker, verb, &entries),
        (Pending::Clear(asker), Answer::Cleared(jobs)) => handlers::clear::cleared(core, asker, &jobs),
        (Pending::Page(asker), Answer::Page { rows, next }) => {
            let paused = core.paused;
            core.answer(asker, Ok(Reply::Rows { paused, rows, next }));
        }
        (Pending::Show(asker), Answer::Jobs { mut views, .. }) => {
            if let Some(view) = views.pop() {
                let view = snapshot::seen_now(core, view);
                core.answer(asker, Ok(Reply::Job(Box::new(view))));
            }
        }
        (Pending::Status(asker), Answer::Jobs { views, .. }) => {
            let status = snapshot::status(core, views);
            core.answer(asker, Ok(Reply::Status(Box::new(status))));
        }
        (Pending::Subscribe(asker, topics), Answer::Jobs { views, .. }) => {
            let snapshot = Box::new(snapshot::for_listener(core, topics.job, views));
            handlers::subscribe::listens(core, asker.session, topics.clone());
            core.emit(Output::Subscribe { asker, topics, snapshot });
        }
        (Pending::Refresh(job), Answer::Jobs { views, .. }) => snapshot::refreshed(core, job, views),
        (Pending::Assign { job, device, generation }, Answer::Assigned { run, view }) => {
            reports::assigned(core, job, device, generation, run, *view);
        }
        (Pending::Calibrated(asker, view), Answer::Done) => calibrations::recorded(core, asker, view),
        (Pending::Record(run), _) => reports::recorded(core, run),
        (Pending::Nothing | Pending::Change(None), _) => {}
        (pending, answer) => tracing::error!("the ledger answered {answer:?} to {pending:?}"),
    }
}

/// The ledger has refused, for good.
fn give_up(core: &mut Core, mut pending: Pending, error: &LedgerError) {
    if let Pending::Assign { job, device, generation } = pending {
        tracing::error!("job {job} was not assigned: {error}");
        if let LedgerError::Unreadable { problem, .. } = error {
            reports::set_aside(core, job, problem.clone());
        }
        reports::unassignable(core, job, device, generation);
        return;
    }
    if let Pending::Record(run) = pending {
        tracing::error!("run {run} was not recorded: {error}");
        reports::unrecordable(core, run, error);
        return;
    }
    if let Some(asker) = pending.take_asker() {
        core.answer(asker, Err(Refusal::from(error)));
    } else {
        tracing::error!("the ledger refused a change: {error}");
    }
}

/// Tells everybody of changed jobs.
pub(super) fn tell(core: &mut Core, entries: &[Entry], views: Vec<JobView>) {
    core.news.counts = true;
    if views.len() < entries.len() {
        core.news.everything = true;
    }
    for view in views {
        let view = snapshot::seen_now(core, view);
        core.publish(Change::Job(Box::new(view)));
    }
}
