//! Jobs are taken back: waiting ones at once, running ones when their engine has stopped.

use super::refuse_unknown;
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::jobs::JobState;
use crate::ledger::Command;
use crate::units::JobId;
use crate::wire::{Order, Reply};

/// Cancels those of the jobs that are not finished.
pub(super) fn cancel(core: &mut Core, asker: Asker, jobs: &[JobId]) {
    let mut waiting = Vec::new();
    let mut running = Vec::new();
    for job in jobs {
        match core.queue.get(*job) {
            Some(j) if j.is_waiting() => waiting.push(*job),
            Some(j) if can_stop(core, j.run) => running.push(*job),
            // Its pictures are on disk: it is as good as done.
            Some(_) | None => {}
        }
    }
    waiting.dedup();
    running.dedup();
    let changed: Vec<JobId> = waiting.iter().chain(&running).copied().collect();
    for job in &waiting {
        core.conclude(*job, JobState::Cancelled);
    }
    for job in &running {
        stop(core, *job);
    }
    let mut asker = Some((asker, changed));
    // The answer goes with the last of the changes.
    if !running.is_empty() {
        let asker = if waiting.is_empty() { asker.take() } else { None };
        core.ask_ledger(Command::WantCancel(running), Pending::Change(asker));
    }
    match asker {
        Some((asker, _)) if waiting.is_empty() => refuse_unknown(core, asker, jobs, "cancelled"),
        asker if !waiting.is_empty() => core.ask_ledger(Command::Cancel { jobs: waiting, run: None }, Pending::Change(asker)),
        Some(_) | None => {}
    }
}

/// Takes a job back that still waits, and leaves one alone that an engine has, or is about to have.
pub(super) fn withdraw(core: &mut Core, asker: Asker, job: JobId) {
    if core.queue.get(job).is_some_and(crate::daemon::state::queue::Waiting::is_waiting) {
        core.conclude(job, JobState::Cancelled);
        core.ask_ledger(Command::Cancel { jobs: vec![job], run: None }, Pending::Change(Some((asker, vec![job]))));
    } else {
        core.answer(asker, Ok(Reply::Changed(Vec::new())));
    }
}

fn can_stop(core: &Core, run: Option<crate::units::RunId>) -> bool {
    // A job that is being assigned has no run yet; it is stopped when it gets one.
    run.is_none_or(|run| core.attempts.get(&run).is_some_and(crate::daemon::state::Attempt::is_with_engine))
}

fn stop(core: &mut Core, job: JobId) {
    core.queue.change(job, |j| j.entry.cancelling = true);
    let by = core.now.plus(core.policy.patience.grace);
    let run = core.queue.get(job).and_then(|j| j.run);
    if let Some(attempt) = run.and_then(|run| core.attempts.get_mut(&run)) {
        attempt.stop_by = attempt.stop_by.or(Some(by));
        let (device, run) = (attempt.device, attempt.run);
        core.emit(Output::Order { device, order: Box::new(Order::Cancel(run)) });
    }
}
