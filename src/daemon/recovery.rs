//! Takes up what the last daemon left: nothing is lost, and nothing is done twice.
//!
//! A run that was cut off goes back to the queue. A run whose pictures are on record gets them named,
//! and is never run again. A job whose record cannot be read is set aside, and all others go on.

use std::collections::VecDeque;

use super::core::Core;
use super::output::Output;
use super::pending::Pending;
use super::state::{Attempt, Stage};
use super::{conversions, reports};
use crate::gallery;
use crate::jobs::{Failure, JobState, Progress};
use crate::ledger::{Command, Interruption, Recovered, Unfinished};
use crate::units::DeviceId;
use crate::workflow::{Kind, SetId};

/// Daemon deaths during a job after which it fails: by then the job is likely what kills it.
pub const CRASHES: u32 = 20;

/// Takes up what the last daemon left.
pub(super) fn take_up(core: &mut Core, recovered: Recovered) {
    for mut entry in recovered.entries {
        conversions::look_again(&mut entry);
        core.queue.insert(entry);
    }
    for unreadable in recovered.unreadable {
        core.count(JobState::Failed);
        reports::set_aside(core, unreadable.job, unreadable.problem);
    }
    for unnamed in recovered.unnamed {
        let Some(device) = core.queue.get(unnamed.job).map(|j| j.entry.device) else { continue };
        core.queue.change(unnamed.job, |j| j.run = Some(unnamed.run));
        core.attempts.insert(unnamed.run, naming(core, &unnamed, device));
        core.emit(Output::Name { run: unnamed.run, images: unnamed.images });
    }
    for cut_off in recovered.unfinished {
        requeue(core, cut_off);
    }
}

fn naming(core: &Core, unnamed: &crate::ledger::Unnamed, device: DeviceId) -> Attempt {
    Attempt {
        run: unnamed.run,
        job: unnamed.job,
        device,
        stage: Stage::Naming,
        model: String::new(),
        set: SetId(String::new()),
        output: std::path::PathBuf::new(),
        targets: unnamed.images.iter().map(|i| i.target.clone()).collect(),
        created: core.now,
        ordered: core.now,
        progress: Progress::starting(0),
        step_seconds: Vec::new(),
        rebudgets: VecDeque::new(),
        stop_by: None,
    }
}

fn requeue(core: &mut Core, cut_off: Unfinished) {
    let Unfinished { run, job, begun, output, batch } = cut_off;
    core.emit(Output::Discard((0..batch).map(|k| gallery::target(&output, &core.tag, run, k)).collect()));
    let Some(waiting) = core.queue.get(job) else { return };
    if waiting.entry.cancelling {
        core.conclude(job, JobState::Cancelled);
        core.ask_ledger(Command::Cancel { jobs: vec![job], run: Some(run) }, Pending::Change(None));
        return;
    }
    let crashes = waiting.entry.crashes + u32::from(begun);
    if crashes >= CRASHES {
        let message = format!("the daemon died {crashes} times while this job ran");
        let hint = Some("look for the reason in the log and with `perilune doctor`, then retry the job".to_owned());
        reports::fail(core, job, Some(run), Failure { kind: Kind::Failed, message, hint, log: Vec::new() });
        return;
    }
    core.queue.change(job, |j| (j.entry.state, j.entry.crashes) = (j.entry.state.given_back(), crashes));
    let why = if begun { Interruption::DaemonDied } else { Interruption::GivenBack };
    core.ask_ledger(Command::Interrupt { run, job, why }, Pending::Change(None));
}
