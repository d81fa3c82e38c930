//! One job may go on.

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

/// Releases a held job; has an engine go on with a paused one.
pub(super) fn job(core: &mut Core, asker: Asker, job: JobId) {
    let Some(waiting) = core.queue.get(job) else { return refuse_unknown(core, asker, &[job], "resumed") };
    let (run, state) = (waiting.run, waiting.entry.state);
    if state == JobState::Held {
        core.queue.change(job, |j| j.entry.state = JobState::Queued);
        core.ask_ledger(Command::Set { job, state: JobState::Queued }, Pending::Change(Some((asker, vec![job]))));
        return;
    }
    core.queue.change(job, |j| j.pausing = false);
    if let Some(attempt) = run.and_then(|run| core.attempts.get(&run)).filter(|a| Attempt::is_with_engine(a)) {
        let (device, run) = (attempt.device, attempt.run);
        core.emit(Output::Order { device, order: Box::new(Order::Resume(run)) });
    }
    core.answer(asker, Ok(Reply::Changed(vec![job])));
}
