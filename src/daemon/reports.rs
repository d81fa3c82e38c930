//! The life of an attempt: chosen, ordered, begun, reported, recorded, published.
//!
//! ```text
//!  assign -> (ledger: run exists) -> order -> Started -> (ledger: running) -> Phase, Step, Preview
//!     -> Finished -> (ledger: pictures are on disk) -> rename -> (ledger: done) -> published
//! ```
//!
//! Once the ledger knows that the pictures are on disk, the job will be done, whoever dies.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::core::Core;
use super::handlers::rebudget;
use super::lessons::{self, Lesson};
use super::output::Output;
use super::pending::Pending;
use super::scheduler::Assignment;
use super::sets;
use super::state::{Attempt, Mode, Stage};
use super::supervision;
use crate::gallery;
use crate::jobs::{Failure, ImageRecord, JobState, JobView, Phase, Progress};
use crate::ledger::{Command, Interruption, LedgerError, Outcome, Planned};
use crate::units::{DeviceId, JobId, RunId};
use crate::wire::control::Preview;
use crate::wire::work::{FailedRun, Finished};
use crate::wire::{Change, Order, RunOrder};
use crate::workflow::{Kind, Refusal, SetId};

/// Engine deaths after which a job fails.
pub const DEATHS: u32 = 2;

/// Chooses an engine for a job; the ledger gives the attempt its number.
pub(super) fn assign(core: &mut Core, assignment: Assignment) {
    let Assignment { job, device } = assignment;
    let Some(engine) = core.engines.get_mut(&device) else { return };
    engine.mode = Mode::Assigning(job);
    let (pid, generation) = (engine.pid, engine.generation);
    core.queue.change(job, |j| j.assigning = true);
    core.ask_ledger(Command::Assign { job, device, pid }, Pending::Assign { job, device, generation });
}

/// The attempt has its number: tells the engine, unless things have changed.
pub(super) fn assigned(core: &mut Core, job: JobId, device: DeviceId, generation: u64, run: RunId, view: JobView) {
    core.queue.change(job, |j| j.assigning = false);
    let cancelling = core.queue.get(job).is_some_and(|j| j.entry.cancelling);
    let engine = core.engines.get_mut(&device).filter(|e| e.generation == generation && e.mode == Mode::Assigning(job));
    let there = engine.is_some() && core.stop_by.is_none();
    if let Some(engine) = engine {
        engine.mode = Mode::Ready(core.now);
    }
    if cancelling {
        core.conclude(job, JobState::Cancelled);
        core.ask_ledger(Command::Cancel { jobs: vec![job], run: Some(run) }, Pending::Change(None));
        return;
    }
    if !there {
        core.ask_ledger(Command::Interrupt { run, job, why: Interruption::GivenBack }, Pending::Change(None));
        return;
    }
    order(core, device, run, view);
}

fn order(core: &mut Core, device: DeviceId, run: RunId, view: JobView) {
    let (job, spec) = (view.job, view.spec);
    let targets: Vec<PathBuf> = (0..spec.batch).map(|k| gallery::target(&spec.output, &core.tag, run, k)).collect();
    core.attempts.insert(
        run,
        Attempt {
            run,
            job,
            device,
            stage: Stage::Ordered,
            model: spec.set.name.clone(),
            set: SetId::of_job(&spec),
            output: spec.output.clone(),
            targets: targets.clone(),
            created: view.created,
            ordered: core.now,
            progress: Progress::starting(spec.steps),
            step_seconds: Vec::new(),
            rebudgets: VecDeque::new(),
            stop_by: None,
        },
    );
    core.queue.change(job, |j| j.run = Some(run));
    if let Some(engine) = core.engines.get_mut(&device) {
        engine.mode = Mode::Busy(run);
    }
    core.news.engines = true;
    let engine = core.engines.get(&device).and_then(|e| e.about.as_deref());
    let known = engine.map(|engine| core.experience.of_engine(device, engine)).unwrap_or_default();
    let order = RunOrder { run, job, spec, targets, known };
    core.emit(Output::Order { device, order: Box::new(Order::Run(Box::new(order))) });
    if core.queue.get(job).is_some_and(|j| j.pausing) {
        core.emit(Output::Order { device, order: Box::new(Order::Pause(run)) });
    }
}

/// The ledger does not know the job, or not as a waiting one; memory gives way.
pub(super) fn unassignable(core: &mut Core, job: JobId, device: DeviceId, generation: u64) {
    core.queue.remove(job);
    core.news.everything = true;
    if let Some(engine) = core.engines.get_mut(&device).filter(|e| e.generation == generation && e.mode == Mode::Assigning(job)) {
        engine.mode = Mode::Ready(core.now);
    }
}

/// The engine has begun.
pub(super) fn started(core: &mut Core, run: RunId) {
    let Some(attempt) = core.attempts.get_mut(&run).filter(|a| a.stage == Stage::Ordered) else { return };
    attempt.stage = Stage::Begun;
    let job = attempt.job;
    core.queue.change(job, |j| j.entry.state = JobState::Running);
    core.ask_ledger(Command::Start { run, job }, Pending::Change(None));
}

/// The engine does something else now.
pub(super) fn phase(core: &mut Core, run: RunId, phase: Phase) {
    progress(core, run, |attempt| attempt.progress.phase = phase);
}

/// The engine has finished a step.
pub(super) fn step(core: &mut Core, run: RunId, step: u32, steps: u32, seconds: f64) {
    progress(core, run, |attempt| attempt.stepped(step, steps, seconds));
}

fn progress(core: &mut Core, run: RunId, change: impl FnOnce(&mut Attempt)) {
    let Some(attempt) = core.attempts.get_mut(&run).filter(|a| a.is_with_engine()) else { return };
    change(attempt);
    let (job, progress) = (attempt.job, attempt.progress);
    core.publish(Change::Progress { job, progress });
}

/// The engine shows what a picture looks like so far.
pub(super) fn preview(core: &mut Core, run: RunId, step: u32, size: (u32, u32), rgb: String) {
    if let Some(job) = core.attempts.get(&run).map(|a| a.job) {
        core.publish(Change::Preview(Preview { job, step, width: size.0, height: size.1, rgb }));
    }
}

/// The engine waits between two steps, or goes on.
pub(super) fn paused(core: &mut Core, run: RunId, state: JobState) {
    let Some(job) = core.attempts.get(&run).filter(|a| a.stage == Stage::Begun).map(|a| a.job) else { return };
    core.queue.change(job, |j| j.entry.state = state);
    core.ask_ledger(Command::Set { job, state }, Pending::Change(None));
}

/// The engine says something that its operator should hear of.
pub(super) fn noticed(core: &mut Core, run: RunId, level: &str, text: &str) {
    match core.attempts.get(&run).map(|a| a.job) {
        Some(job) => core.notice(level, format!("job {job}: {text}"), Some(job)),
        None if sets::is_loading(core, run) => core.notice(level, text.to_owned(), None),
        None => {}
    }
}

/// The engine has written all pictures.
pub(super) fn finished(core: &mut Core, finished: Finished) {
    let run = finished.run;
    // An engine that forgot to say that it has begun has begun all the same.
    started(core, run);
    let Some(attempt) = core.attempts.get_mut(&run).filter(|a| a.stage == Stage::Begun) else { return };
    let (job, device) = (attempt.job, attempt.device);
    if finished.images.len() != attempt.targets.len() {
        let message = format!("the engine wrote {} of {} pictures", finished.images.len(), attempt.targets.len());
        let kind = Kind::Failed;
        failed(core, FailedRun { run, kind, message, hint: None, fatal: false });
        return;
    }
    let planned: Vec<Planned> = attempt.targets.iter().zip(&finished.images).map(|(t, i)| plan(attempt, t, i)).collect();
    attempt.stage = Stage::Recording(planned.clone());
    attempt.stop_by = None;
    attempt.progress.phase = Phase::Saving;
    let lesson = Lesson::of(&attempt.model, &finished);
    let mut timing = finished.timing;
    timing.queued = attempt.ordered.since(attempt.created).as_secs_f64();
    let too_late = std::mem::take(&mut attempt.rebudgets);
    rebudget::over(core, job, too_late);
    let outcome = Outcome { timing, placement: finished.placement, precision: finished.precision, warnings: finished.warnings };
    free(core, device, run);
    core.ask_ledger(Command::Finish { run, job, outcome: Box::new(outcome), images: planned }, Pending::Record(run));
    if let Some(lesson) = lesson {
        lessons::keep(core, device, lesson);
    }
}

fn plan(attempt: &Attempt, target: &std::path::Path, image: &ImageRecord) -> Planned {
    Planned {
        target: target.to_owned(),
        inode: None,
        path: attempt.output.join(gallery::file_name(attempt.job, &attempt.model, image.seed)),
        seed: image.seed,
        width: image.width,
        height: image.height,
    }
}

/// The ledger knows the result: the pictures get their names.
pub(super) fn recorded(core: &mut Core, run: RunId) {
    let Some(attempt) = core.attempts.get_mut(&run) else { return };
    if let Stage::Recording(images) = std::mem::replace(&mut attempt.stage, Stage::Naming) {
        core.emit(Output::Name { run, images });
    }
}

/// The ledger will not have the result. That is a mistake of ours, and the operator must hear of it.
pub(super) fn unrecordable(core: &mut Core, run: RunId, error: &LedgerError) {
    let Some(attempt) = core.attempts.remove(&run) else { return };
    core.queue.remove(attempt.job);
    core.news.everything = true;
    core.notice("crit", format!("job {}: its result could not be recorded: {error}", attempt.job), Some(attempt.job));
    core.emit(Output::Discard(attempt.targets));
}

/// The pictures have their names, or one cannot get its.
pub(super) fn named(core: &mut Core, run: RunId, result: Result<Vec<PathBuf>, Refusal>) {
    let Some(attempt) = core.attempts.remove(&run) else { return };
    let job = attempt.job;
    match result {
        Ok(paths) => {
            core.conclude(job, JobState::Done);
            core.ask_ledger(Command::Publish { run, job, paths }, Pending::Change(None));
        }
        Err(refusal) => fail(core, job, Some(run), failure(refusal.kind, refusal.message, refusal.hint, Vec::new())),
    }
}

/// The run ended without pictures.
pub(super) fn failed(core: &mut Core, report: FailedRun) {
    let run = report.run;
    let Some(attempt) = core.attempts.get(&run).filter(|a| a.is_with_engine()).cloned() else { return };
    free(core, attempt.device, run);
    if report.fatal {
        supervision::ends_itself(core, attempt.device);
    }
    core.attempts.remove(&run);
    rebudget::over(core, attempt.job, attempt.rebudgets);
    core.emit(Output::Discard(attempt.targets));
    let cancelling = core.queue.get(attempt.job).is_some_and(|j| j.entry.cancelling);
    if cancelling {
        cancelled(core, attempt.job, run);
    } else if report.kind == Kind::Interrupted {
        interrupted(core, attempt.job, run, &report.message, Vec::new());
    } else {
        fail(core, attempt.job, Some(run), failure(report.kind, report.message, report.hint, Vec::new()));
    }
}

/// The engine is gone, and with it the attempt. `log` is what it wrote last.
pub(super) fn lost(core: &mut Core, run: RunId, how: &str, log: Vec<String>) {
    let Some(attempt) = core.attempts.get(&run).filter(|a| a.is_with_engine()).cloned() else { return };
    core.attempts.remove(&run);
    rebudget::over(core, attempt.job, attempt.rebudgets);
    core.emit(Output::Discard(attempt.targets));
    if core.queue.get(attempt.job).is_some_and(|j| j.entry.cancelling) {
        cancelled(core, attempt.job, run);
    } else {
        interrupted(core, attempt.job, run, how, log);
    }
}

fn cancelled(core: &mut Core, job: JobId, run: RunId) {
    core.conclude(job, JobState::Cancelled);
    core.ask_ledger(Command::Cancel { jobs: vec![job], run: Some(run) }, Pending::Change(None));
}

/// Once more, or no more.
fn interrupted(core: &mut Core, job: JobId, run: RunId, how: &str, log: Vec<String>) {
    let deaths = core.queue.get(job).map_or(DEATHS, |j| j.entry.deaths + 1);
    if deaths >= DEATHS {
        let message = format!("the engine died {deaths} times while it ran this job; the last time it {how}");
        let words = if log.is_empty() { "it wrote nothing before it died" } else { "the job's log shows its last words" };
        let hint = format!("{words}; `perilune queue retry {job}` tries again");
        fail(core, job, Some(run), failure(Kind::Failed, message, Some(hint), log));
        return;
    }
    core.queue.change(job, |j| {
        (j.run, j.pausing, j.entry.deaths, j.entry.state) = (None, false, deaths, j.entry.state.given_back());
    });
    core.notice("warn", format!("job {job} is tried once more: the engine {how}"), Some(job));
    core.ask_ledger(Command::Interrupt { run, job, why: Interruption::EngineDied(how.to_owned()) }, Pending::Change(None));
}

fn failure(kind: Kind, message: String, hint: Option<String>, log: Vec<String>) -> Failure {
    Failure { kind, message, hint, log }
}

/// The job will not succeed.
pub(super) fn fail(core: &mut Core, job: JobId, run: Option<RunId>, failure: Failure) {
    core.notice("fail", format!("job {job} failed: {}", failure.message), Some(job));
    fail_untold(core, job, run, failure);
}

/// The job will not succeed, and its operator has been told.
pub(super) fn fail_untold(core: &mut Core, job: JobId, run: Option<RunId>, failure: Failure) {
    core.conclude(job, JobState::Failed);
    core.ask_ledger(Command::Fail { job, run, failure: Box::new(failure) }, Pending::Change(None));
}

/// Nobody can read what the job is to do; the others go on.
pub(super) fn set_aside(core: &mut Core, job: JobId, problem: String) {
    core.conclude(job, JobState::Failed);
    core.notice("fail", format!("job {job} failed: its record cannot be read: {problem}"), Some(job));
    core.ask_ledger(Command::SetAside { job, problem }, Pending::Change(None));
}

/// The engine can have another job.
fn free(core: &mut Core, device: DeviceId, run: RunId) {
    if let Some(engine) = core.engines.get_mut(&device).filter(|e| e.mode == Mode::Busy(run)) {
        engine.mode = Mode::Ready(core.now);
    }
    core.news.engines = true;
    if let Some(set) = core.attempts.get(&run).map(|a| a.set.clone()) {
        sets::used(core, device, set);
    }
}
