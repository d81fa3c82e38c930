//! Engines come and go: what that means for their jobs, and when they are started again.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::input::{Exit, Heard};
use super::output::Output;
use super::pending::Pending;
use super::state::{Engine, FAILED_STARTS, Mode};
use super::{calibrations, conversions, faults, handlers, reports, sets, snapshot};
use crate::jobs::{Failure, JobState};
use crate::ledger::{Command, Interruption};
use crate::telemetry::Frame;
use crate::units::{DeviceId, RunId, Timestamp};
use crate::wire::work::Configure;
use crate::wire::{Change, Order, Report};
use crate::workflow::{Kind, Refusal};

/// From the order to end until an engine is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// From the order to end until the daemon goes, whatever still hangs.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Starts an engine.
pub(super) fn start_engine(core: &mut Core, device: DeviceId) {
    let now = core.now;
    let engine = core.engines.entry(device).or_insert_with(|| Engine::absent(device));
    let failed_starts = engine.failed_starts;
    let generation = engine.start(now);
    core.news.engines = true;
    core.emit(Output::Spawn { device, generation, failed_starts });
}

/// An operator tries a job again: whatever its engine lacked may be there now, and is looked for at once.
pub(super) fn try_at_once(core: &mut Core, device: DeviceId) {
    if let Some(engine) = core.engines.get_mut(&device) {
        engine.mended();
    }
}

/// Takes in what is heard of an engine.
pub(super) fn heard(core: &mut Core, device: DeviceId, generation: u64, heard: Heard) {
    let Some(engine) = core.engines.get_mut(&device).filter(|e| e.generation == generation) else { return };
    match heard {
        Heard::Born(pid) => {
            engine.pid = Some(pid);
            core.news.engines = true;
            let (threads, log, texts) = (core.policy.engine_threads, core.policy.engine_log.clone(), core.policy.texts.clone());
            let (simulated, tally) = match device {
                DeviceId::Sim(_) => (core.policy.simulated.clone(), Some(core.policy.tally.clone())),
                DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Cpu | DeviceId::Disk => (Vec::new(), None),
            };
            let floors = core.policy.floors.clone();
            let order = Order::Configure(Configure { device, threads, log, simulated, tally, texts, floors });
            core.emit(Output::Order { device, order: Box::new(order) });
        }
        Heard::Said(report) => said(core, device, report),
        Heard::Died(exit) => died(core, device, exit),
        Heard::Broken(refusal) => broken(core, device, &refusal),
    }
}

fn said(core: &mut Core, device: DeviceId, report: Report) {
    match report {
        Report::Ready { about } => {
            let now = core.now;
            if let Some(engine) = core.engines.get_mut(&device).filter(|e| e.mode == Mode::Starting) {
                engine.ready(about, now);
            }
            core.news.engines = true;
            core.news.everything = true;
            sets::greet(core, device);
        }
        Report::Started(run) => reports::started(core, run),
        Report::Phase { run, phase } => reports::phase(core, run, phase),
        Report::Step { run, step, steps, seconds } => reports::step(core, run, step, steps, seconds),
        Report::Preview { run, step, width, height, rgb } => reports::preview(core, run, step, (width, height), rgb),
        Report::Paused(run) => reports::paused(core, run, JobState::Paused),
        Report::Resumed(run) => reports::paused(core, run, JobState::Running),
        Report::Rebudgeted(report) => handlers::rebudget::rebudgeted(core, *report),
        Report::Notice { run, level, text } => reports::noticed(core, run, &level, &text),
        Report::Finished(finished) => reports::finished(core, *finished),
        Report::Failed(failed) => reports::failed(core, *failed),
        Report::Found(finding) => calibrations::found(core, device, finding),
        Report::Calibrated(failure) => calibrations::ended(core, device, failure.map(|f| *f)),
        Report::Memory(memory) => {
            if let Some(engine) = core.engines.get_mut(&device) {
                engine.memory = Some(memory);
            }
            sets::held(core, device);
        }
        Report::Loaded { run, failure } => sets::loaded(core, run, failure.map(|f| *f)),
        Report::Unloaded { set, refusal } => sets::unloaded(core, device, &set, refusal.as_ref()),
        // The link looks after these.
        Report::Pong(_) => {}
    }
}

fn died(core: &mut Core, device: DeviceId, exit: Exit) {
    let now = core.now;
    let Some(engine) = core.engines.get_mut(&device) else { return };
    let in_order = matches!(engine.mode, Mode::Ending(_));
    let run = if let Mode::Busy(run) = engine.mode { Some(run) } else { None };
    let unready = engine.mode == Mode::Starting;
    let how = match exit.log.last() {
        Some(last) if unready => format!("{} before it was ready: {last}", exit.how),
        Some(_) | None => exit.how.clone(),
    };
    let heard_before = engine.last_exit.as_ref() == Some(&how);
    engine.last_exit = Some(how.clone());
    engine.gone(!in_order, &core.policy.patience, now);
    core.news.engines = true;
    core.news.sets = true;
    if !in_order {
        core.news.everything = true;
        tracing::warn!("the engine of {device} {how}");
    }
    if unready && !in_order && !heard_before {
        core.notice("crit", format!("the engine of {device} {how}"), None);
    }
    if let Some(orphans) = core.orphans.remove(&device) {
        core.emit(Output::Discard(orphans));
    }
    if !in_order {
        calibrations::lost(core, device, &how);
    }
    sets::lost(core, device, &how);
    if let Some(run) = run {
        reports::lost(core, run, &exit.how, exit.log);
    } else if unready && !in_order {
        let last = format!("; the last time it {} before it was ready", exit.how);
        give_up(core, device, &last, None, &exit.log);
    }
}

fn broken(core: &mut Core, device: DeviceId, refusal: &Refusal) {
    let now = core.now;
    let Some(engine) = core.engines.get_mut(&device) else { return };
    engine.broken(&core.policy.patience, now);
    let text = refusal.hint.as_ref().map_or_else(|| refusal.message.clone(), |hint| format!("{}; {hint}", refusal.message));
    let heard_before = engine.last_exit.as_ref() == Some(&text);
    engine.last_exit = Some(text.clone());
    core.news.engines = true;
    core.news.everything = true;
    if !heard_before {
        tracing::error!("{text}");
        core.notice("crit", text, None);
    }
    let how = format!("cannot be started: {}", refusal.message);
    calibrations::lost(core, device, &how);
    sets::lost(core, device, &how);
    give_up(core, device, &format!(": {}", refusal.message), refusal.hint.as_deref(), &[]);
}

/// Fails the jobs of an engine that did not start in so many tries. Held ones stay, and so does what comes later.
/// `last` says how the last try ended, `mend` what its operator can do, and `log` is what the engine wrote.
fn give_up(core: &mut Core, device: DeviceId, last: &str, mend: Option<&str>, log: &[String]) {
    let Some(engine) = core.engines.get_mut(&device).filter(|e| e.failed_starts >= FAILED_STARTS) else { return };
    engine.failed_starts = 0;
    let jobs = core.queue.all_for(device);
    if jobs.is_empty() {
        return;
    }
    let message = format!("the engine of {device} did not start in {FAILED_STARTS} tries{last}");
    let which = if let [job] = jobs[..] { format!("job {job} failed") } else { format!("{} jobs failed", jobs.len()) };
    core.notice("fail", format!("{which}: {message}"), None);
    for job in jobs {
        let mend = mend.map(|mend| format!("{mend}; ")).unwrap_or_default();
        let hint = Some(format!("{mend}`perilune doctor` says what is missing; when it is mended, `perilune queue retry {job}`"));
        let failure = Failure { kind: Kind::Failed, message: message.clone(), hint, log: log.to_vec() };
        reports::fail_untold(core, job, None, failure);
    }
}

/// Returns when this engine wants something to be done. One with sets that are to stay does not end for want of jobs.
pub(super) fn wake_at(core: &Core, engine: &Engine) -> Option<Timestamp> {
    match engine.mode {
        Mode::Backoff(at) | Mode::Broken(at) | Mode::Ending(at) => Some(at),
        Mode::Ready(_) if sets::holds(core, engine.device) => None,
        Mode::Ready(since) => core.policy.engine_idle_s.map(|s| since.plus(Duration::from_secs_f64(s.max(0.0)))),
        Mode::Absent | Mode::Starting | Mode::Assigning(_) | Mode::Busy(_) | Mode::Calibrating => None,
    }
}

/// Does what is due.
pub(super) fn tick(core: &mut Core) {
    let now = core.now;
    sets::tick(core);
    let late: Vec<(RunId, DeviceId)> =
        core.attempts.values().filter(|a| a.stop_by.is_some_and(|by| by <= now)).map(|a| (a.run, a.device)).collect();
    for (run, device) in late {
        if let Some(attempt) = core.attempts.get_mut(&run) {
            attempt.stop_by = None;
        }
        let why = format!("did not stop within {} s of being asked and was killed", core.policy.patience.grace.as_secs());
        core.emit(Output::Kill { device, why });
    }
    let due: Vec<DeviceId> = core.engines.values().filter(|e| wake_at(core, e).is_some_and(|at| at <= now)).map(|e| e.device).collect();
    for device in due {
        let Some(engine) = core.engines.get_mut(&device) else { continue };
        match engine.mode {
            Mode::Backoff(_) | Mode::Broken(_) => engine.mode = Mode::Absent,
            Mode::Ready(_) => end_engine(core, device),
            Mode::Ending(_) => {
                engine.mode = Mode::Ending(now.plus(STOP_GRACE));
                let why = "did not end in order and was killed".to_owned();
                core.emit(Output::Kill { device, why });
            }
            Mode::Absent | Mode::Starting | Mode::Assigning(_) | Mode::Busy(_) | Mode::Calibrating => {}
        }
        core.news.engines = true;
    }
}

/// The engine has said that it ends, because nothing that it computes can be trusted any more: it is given nothing else.
pub(super) fn ends_itself(core: &mut Core, device: DeviceId) {
    let by = core.now.plus(STOP_GRACE);
    if let Some(engine) = core.engines.get_mut(&device) {
        engine.mode = Mode::Ending(by);
    }
}

fn end_engine(core: &mut Core, device: DeviceId) {
    ends_itself(core, device);
    core.emit(Output::Order { device, order: Box::new(Order::Shutdown) });
}

/// The ledger can, or cannot, be written to.
pub(super) fn trouble(core: &mut Core, trouble: Option<String>) {
    if trouble.is_some() != core.trouble.is_some() {
        let (level, text) = match &trouble {
            Some(trouble) => ("crit", format!("{trouble}; no job is started until it can be written to again")),
            None => ("info", "the ledger can be written to again".to_owned()),
        };
        core.trouble = trouble;
        core.notice(level, text, None);
    }
}

/// New readings are there.
pub(super) fn readings(core: &mut Core, frame: Arc<Frame>) {
    core.frame = frame;
    faults::tell(core);
    if !core.listeners.is_empty() {
        let (devices, host) = (snapshot::devices(core), Box::new(snapshot::host(core)));
        core.publish(Change::Devices { devices, host });
    }
}

/// Ends in order: running jobs are interrupted and wait for the next start.
pub(super) fn stop(core: &mut Core) {
    if core.stop_by.is_some() {
        return;
    }
    tracing::info!("ending");
    core.stop_by = Some(core.now.plus(STOP_LIMIT));
    calibrations::give_up(core);
    sets::give_up(core);
    conversions::give_up(core);
    let running: Vec<RunId> = core.attempts.values().filter(|a| a.is_with_engine()).map(|a| a.run).collect();
    for run in running {
        let Some(attempt) = core.attempts.remove(&run) else { continue };
        handlers::rebudget::over(core, attempt.job, attempt.rebudgets);
        core.orphans.entry(attempt.device).or_default().extend(attempt.targets);
        let job = attempt.job;
        if core.queue.get(job).is_some_and(|j| j.entry.cancelling) {
            core.conclude(job, JobState::Cancelled);
            core.ask_ledger(Command::Cancel { jobs: vec![job], run: Some(run) }, Pending::Change(None));
        } else {
            core.queue.change(job, |j| (j.run, j.pausing, j.entry.state) = (None, false, j.entry.state.given_back()));
            core.ask_ledger(Command::Interrupt { run, job, why: Interruption::Orderly }, Pending::Change(None));
        }
    }
    let alive: Vec<DeviceId> = core.engines.values().filter(|e| e.is_alive()).map(|e| e.device).collect();
    for device in alive {
        end_engine(core, device);
    }
}

/// Ends at once.
pub(super) fn kill(core: &mut Core) {
    stop(core);
    let alive: Vec<DeviceId> = core.engines.values().filter(|e| e.is_alive()).map(|e| e.device).collect();
    for device in alive {
        core.emit(Output::Kill { device, why: "was killed with the daemon".to_owned() });
    }
    core.stop_by = Some(core.now);
}
