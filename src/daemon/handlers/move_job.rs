//! A waiting job gets another place in the queue.

use super::{explain, refuse_unknown};
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::pending::Pending;
use crate::daemon::state::queue::Unmovable;
use crate::jobs::Move;
use crate::ledger::Command;
use crate::units::JobId;
use crate::wire::Reply;

/// Moves a job.
pub(super) fn move_job(core: &mut Core, asker: Asker, job: JobId, to: Move) {
    let places = match core.queue.places_after(job, to) {
        Ok(places) => places,
        Err(Unmovable::NotWaiting(stuck)) => return refuse(core, asker, stuck),
    };
    if places.is_empty() {
        core.answer(asker, Ok(Reply::Changed(Vec::new())));
        return;
    }
    for (job, priority, rank) in &places {
        core.queue.change(*job, |j| (j.entry.priority, j.entry.rank) = (*priority, *rank));
    }
    core.news.everything = true;
    core.ask_ledger(Command::Place(places), Pending::Change(Some((asker, vec![job]))));
}

fn refuse(core: &mut Core, asker: Asker, job: JobId) {
    match core.queue.get(job).map(|j| j.entry.clone()) {
        Some(entry) => explain(core, asker, "moved", &[entry]),
        None => refuse_unknown(core, asker, &[job], "moved"),
    }
}
