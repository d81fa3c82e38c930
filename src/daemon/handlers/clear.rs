//! Finished jobs are forgotten. Their pictures stay.

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::pending::Pending;
use crate::jobs::JobState;
use crate::ledger::Command;
use crate::units::JobId;
use crate::wire::{Change, Reply};
use crate::workflow::{Kind, Refusal};

/// Forgets finished jobs in these states.
pub(super) fn clear(core: &mut Core, asker: Asker, states: Vec<JobState>) {
    if let Some(state) = states.iter().find(|s| !s.is_final()) {
        let message = format!("{state} jobs are not finished, so they cannot be cleared");
        core.answer(asker, Err(Refusal::new(Kind::Usage, message, "cancel them first, or name done, failed or cancelled")));
        return;
    }
    core.ask_ledger(Command::Clear(states), Pending::Clear(asker));
}

/// They are forgotten.
pub(in crate::daemon) fn cleared(core: &mut Core, asker: Asker, jobs: &[(JobId, JobState)]) {
    for (_, state) in jobs {
        core.uncount(*state);
    }
    core.news.counts = true;
    if !jobs.is_empty() {
        core.publish(Change::Gone(jobs.iter().map(|(job, _)| *job).collect()));
    }
    core.answer(asker, Ok(Reply::Cleared(jobs.len() as u64)));
}
