//! What clients see: the ledger's words with what only memory knows laid over them.

use std::collections::BTreeSet;

use super::core::{Core, News};
use super::output::Output;
use super::pending::Pending;
use super::state::Engine;
use super::state::queue::Waiting;
use super::{conversions, scheduler, sets, simulated};
use crate::devices::{DeviceReading, Held, HostReading, MeasuredSpeed};
use crate::jobs::{JobView, WaitReason, job};
use crate::ledger::{Amiss, Command};
use crate::placement::Subject;
use crate::units::{Bytes, DeviceId, JobId, SessionId};
use crate::wire::{Change, DaemonView, EngineView, QueueView, Status};

/// Waiting jobs in a snapshot; lists have them all.
const WAITING_SHOWN: u32 = 50;
/// Finished jobs in a snapshot.
pub(super) const FINISHED_SHOWN: u32 = 20;

/// Jobs of the last day in a snapshot that went wrong, whatever ended after them.
const AMISS_SHOWN: u32 = 100;

/// Returns the question for the jobs that a snapshot shows, of one job or of everything. What waits the ledger chooses when it
/// answers: jobs that it is just being told of are not in our queue yet.
pub(super) fn question(core: &Core, job: Option<JobId>) -> Command {
    if let Some(job) = job {
        return Command::Views { jobs: vec![job], unfinished: 0, finished: 0, amiss: None };
    }
    let amiss = Some(Amiss { since: job::lately(core.now), most: AMISS_SHOWN });
    Command::Views { jobs: core.queue.active().collect(), unfinished: WAITING_SHOWN, finished: FINISHED_SHOWN, amiss }
}

/// Lays over a job what the ledger does not know: why it waits, how far it is.
pub(super) fn seen_now(core: &Core, mut view: JobView) -> JobView {
    if view.state.is_final() {
        return view;
    }
    if let Some(job) = core.queue.get(view.job).filter(|j| j.entry.state == view.state) {
        view.reason = scheduler::reason(job, &core.queue, &core.engines, core.paused);
        let attempt = job.run.and_then(|run| core.attempts.get(&run));
        view.progress = match (&view.reason, job.lacks()) {
            (Some(WaitReason::Converting), Some(wish)) => core.conversions.progress(wish, core.now),
            _ => attempt.filter(|_| view.state.is_active()).map(|a| a.progress),
        };
    }
    view
}

/// Returns everything, with these jobs.
pub(super) fn status(core: &Core, views: Vec<JobView>) -> Status {
    let counts = core.counts();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: core.now,
        daemon: DaemonView { pid: core.policy.pid, uptime_s: core.now.since(core.started).as_secs_f64() },
        devices: devices(core),
        host: host(core),
        sets: sets::views(core),
        engines: engines(core),
        cache: core.cache.clone(),
        conversions: conversions::views(core),
        queue: QueueView {
            paused: core.paused,
            queued: counts.queued,
            held: counts.held,
            running: counts.running,
            succeeded: counts.succeeded,
            failed: counts.failed,
            cancelled: counts.cancelled,
            jobs: views.into_iter().map(|v| seen_now(core, v)).collect(),
        },
        notices: core.notices.iter().cloned().collect(),
    }
}

/// Returns everything that a listener to one job, or to everything, wants to hear of.
pub(super) fn for_listener(core: &Core, job: Option<JobId>, views: Vec<JobView>) -> Status {
    let mut status = status(core, views);
    if let Some(job) = job {
        status.devices.clear();
        status.sets.clear();
        status.host = HostReading::default();
        status.notices.retain(|n| n.job == Some(job));
    }
    status
}

/// Returns the readings, with what our engines hold.
pub(super) fn devices(core: &Core) -> Vec<DeviceReading> {
    let mut devices = core.frame.devices.clone();
    for reading in &mut devices {
        reading.age_s += core.now.since(core.frame.taken).as_secs_f64();
        simulated::account(core, reading);
        reading.floor = core.policy.floors.said(reading.id);
        for engine in core.engines.values() {
            let memory = engine.memory.as_ref();
            if engine.device == reading.id && !reading.simulated {
                reading.activations = memory.and_then(|m| m.activations).or_else(|| activations(reading, engine));
            }
            let loaded = memory.map(|m| m.sets.as_slice()).unwrap_or_default();
            let here = sets::copies(loaded).into_iter().filter(|(_, part)| part.device == reading.id);
            reading.held.extend(here.map(|(names, part)| Held {
                set: names.join(", "),
                component: part.role.name().to_owned(),
                precision: part.precision.clone(),
                bytes: part.bytes,
            }));
        }
    }
    devices
}

/// Returns the host's readings, with how fast the disk of the models was when it was measured.
pub(super) fn host(core: &Core) -> HostReading {
    let mut host = core.frame.host.clone();
    let models = core.frame.devices.iter().find(|d| d.id == DeviceId::Disk).and_then(|d| d.name.as_ref());
    let measured = core.experience.speed_of(Subject::Device(DeviceId::Disk));
    for disk in host.disks.iter_mut().filter(|disk| Some(&disk.mount) == models) {
        disk.measured = measured.map(|(speed, time)| MeasuredSpeed { read_bps: speed.bytes_per_second, time });
    }
    host
}

/// Returns what an engine holds on its GPU beyond weights, by the driver's table of processes. `None` where that
/// does not show the engine, as in containers.
fn activations(reading: &DeviceReading, engine: &Engine) -> Option<Bytes> {
    let held = reading.processes.iter().find(|p| Some(p.pid) == engine.pid)?.bytes?;
    let loaded = engine.memory.as_ref().map(|m| m.sets.as_slice()).unwrap_or_default();
    let weights = sets::weights_on(loaded, reading.id);
    Some(held - weights)
}

fn engines(core: &Core) -> Vec<EngineView> {
    core.engines.values().map(|e| e.view(core.now)).collect()
}

/// Tells everybody what has changed in this turn.
pub(super) fn tell_news(core: &mut Core) {
    let News { engines: new_engines, sets: new_sets, conversions: new_conversions, counts, everything } = std::mem::take(&mut core.news);
    if new_engines {
        core.emit(Output::Engines(core.engines.values().filter_map(|e| Some((e.pid?, e.device))).collect()));
        watch_bus(core);
    }
    if everything {
        refresh(core);
    }
    if core.listeners.is_empty() {
        return;
    }
    if new_engines {
        core.publish(Change::Engines(engines(core)));
    }
    if new_sets {
        core.publish(Change::Sets(sets::views(core)));
    }
    if new_conversions {
        core.publish(Change::Conversions(conversions::views(core)));
    }
    if counts {
        core.publish(Change::Queue { paused: core.paused, counts: core.counts() });
    }
}

/// Has bus traffic measured where engines cause some, and where a client looks at it.
pub(super) fn watch_bus(core: &mut Core) {
    let engines = core.engines.values().filter(|e| e.pid.is_some()).map(|e| e.device);
    let devices = engines.chain(core.watched.values().copied()).collect();
    core.emit(Output::WatchBus(devices));
}

/// Asks for snapshots for all who listen to everything, and for those whose job waits: its reason may be another now. Whoever
/// waits for a first snapshot, in which this is not seen yet, listens by the time that the next one is there.
fn refresh(core: &mut Core) {
    let subscribing = core.pending.values().filter_map(Pending::subscription);
    let is_waiting = |job| core.queue.get(job).is_some_and(Waiting::is_waiting);
    let topics = core.listeners.values().chain(subscribing).map(|topics| topics.job);
    let wanted: BTreeSet<Option<JobId>> = topics.filter(|job| job.is_none_or(is_waiting)).collect();
    for job in wanted {
        core.ask_ledger(question(core, job), Pending::Refresh(job));
    }
}

/// Sends the snapshot that was asked for to all who listen to this by now.
pub(super) fn refreshed(core: &mut Core, job: Option<JobId>, views: Vec<JobView>) {
    let sessions: Vec<SessionId> = core.listeners.iter().filter(|(_, topics)| topics.job == job).map(|(session, _)| *session).collect();
    if !sessions.is_empty() {
        let snapshot = Box::new(for_listener(core, job, views));
        core.emit(Output::Refresh { sessions, snapshot });
    }
}
