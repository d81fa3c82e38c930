//! Finished jobs are tried again.

use super::{explain, refuse_unknown};
use crate::daemon::answers;
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::pending::Pending;
use crate::daemon::supervision;
use crate::jobs::{JobState, JobView, Step};
use crate::ledger::{Command, Entry};
use crate::units::JobId;
use crate::wire::Reply;

/// Asks the ledger what has become of the jobs.
pub(super) fn retry(core: &mut Core, asker: Asker, jobs: Vec<JobId>) {
    let unfinished = jobs.iter().find_map(|job| core.queue.get(*job)).map(|j| j.entry.clone());
    if let Some(entry) = unfinished {
        explain(core, asker, "retried", &[entry]);
    } else if jobs.is_empty() {
        refuse_unknown(core, asker, &jobs, "retried");
    } else {
        core.ask_ledger(Command::Views { jobs, unfinished: 0, finished: 0, amiss: None }, Pending::RetryCheck(asker));
    }
}

/// The ledger has said what has become of them.
pub(in crate::daemon) fn checked(core: &mut Core, asker: Asker, entries: &[Entry]) {
    if let Some(entry) = entries.iter().find(|e| e.state.after(Step::Retry).is_err()) {
        explain(core, asker, "retried", std::slice::from_ref(entry));
        return;
    }
    let jobs = entries.iter().map(|e| e.job).collect();
    let before = entries.iter().map(|e| (e.job, e.state)).collect();
    core.ask_ledger(Command::Retry(jobs), Pending::Retry(asker, before));
}

/// They wait again. `before` tells what they were.
pub(in crate::daemon) fn retried(core: &mut Core, asker: Asker, before: &[(JobId, JobState)], entries: Vec<Entry>, views: Vec<JobView>) {
    answers::tell(core, &entries, views);
    core.answer(asker, Ok(Reply::Changed(entries.iter().map(|e| e.job).collect())));
    for (mut entry, (_, state)) in entries.into_iter().zip(before) {
        // Asked for twice at once, it was taken in before.
        if core.queue.get(entry.job).is_none() && entry.state == JobState::Queued {
            core.uncount(*state);
            supervision::try_at_once(core, entry.device);
            crate::daemon::conversions::look_again(&mut entry);
            core.queue.insert(entry);
        }
    }
}
