//! The queue, or one job, is kept from going on.

use super::refuse_unknown;
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::state::Attempt;
use crate::jobs::JobState;
use crate::ledger::Command;
use crate::units::JobId;
use crate::wire::{Order, Reply};

/// Keeps new jobs from starting, or lets them. What runs goes on.
pub(super) fn queue(core: &mut Core, asker: Asker, paused: bool) {
    core.paused = paused;
    core.news.counts = true;
    core.news.everything = true;
    core.ask_ledger(Command::PauseQueue(paused), Pending::Change(Some((asker, Vec::new()))));
}

/// Holds a waiting job; has a running one wait between two steps.
pub(super) fn job(core: &mut Core, asker: Asker, job: JobId) {
    let Some(waiting) = core.queue.get(job) else { return refuse_unknown(core, asker, &[job], "paused") };
    let (run, is_waiting, state) = (waiting.run, waiting.is_waiting(), waiting.entry.state);
    if is_waiting && state == JobState::Queued {
        core.queue.change(job, |j| j.entry.state = JobState::Held);
        core.ask_ledger(Command::Set { job, state: JobState::Held }, Pending::Change(Some((asker, vec![job]))));
        return;
    }
    if !is_waiting {
        core.queue.change(job, |j| j.pausing = true);
        if let Some(attempt) = run.and_then(|run| core.attempts.get(&run)).filter(|a| Attempt::is_with_engine(a)) {
            let (device, run) = (attempt.device, attempt.run);
            core.emit(Output::Order { device, order: Box::new(Order::Pause(run)) });
        }
    }
    core.answer(asker, Ok(Reply::Changed(vec![job])));
}
