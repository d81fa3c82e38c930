//! The line mode: what changes, one line each, for screen readers and logs. No cursor is moved and no colour is set.
//!
//! ```text
//! 14:02:11 box: daemon up; cuda:0 RTX 4090 23.7 of 24.0 GiB, 93 % busy, 81 C
//! 14:02:13 job 41 running: step 14 of 28
//! 14:02:40 job 41 done: /home/ana/pictures/night-0041.png
//! 14:02:52 ALERT cuda:0 memory: 23.7/24.0 GiB, threshold 97%; move weights elsewhere in the tuner, or unload sets
//! ```
//!
//! What changes all the time is told when it has changed much: a screen reader reads everything.

use std::collections::BTreeMap;

use super::alert_lines::AlertLines;
use crate::client::News;
use crate::devices::{DeviceReading, Health, Labelled};
use crate::jobs::{JobState, JobView, Progress};
use crate::units::{DeviceId, JobId, Thresholds, Timestamp};
use crate::wire::control::Counts;
use crate::wire::{Change, ConversionId, ConversionView, EngineState, EngineView, SetView, Status};

/// Memory is told again when it has changed by this share of all there is.
const MEMORY: f64 = 0.05;
/// A temperature is told again when it has changed by so many degrees.
const DEGREES: f64 = 10.0;
/// Progress is told each time another of so many parts is done.
const PARTS: u32 = 4;

/// What was told of a device.
#[derive(Debug, Clone, PartialEq)]
struct ToldDevice {
    health: String,
    used: f64,
    temperature: Option<f64>,
}

/// What was told already, so that only changes are told.
#[derive(Debug)]
pub struct Plain {
    place: String,
    alerts: AlertLines,
    up: Option<bool>,
    devices: BTreeMap<DeviceId, ToldDevice>,
    jobs: BTreeMap<JobId, String>,
    parts: BTreeMap<JobId, u32>,
    sets: BTreeMap<(String, DeviceId), String>,
    engines: BTreeMap<DeviceId, String>,
    conversions: BTreeMap<ConversionId, String>,
    queue: Option<(bool, Counts)>,
}

impl Plain {
    /// Returns one that has told nothing yet. Lines begin with the place where there are several.
    #[must_use]
    pub fn new(place: Option<&str>, thresholds: Thresholds) -> Self {
        Self {
            place: place.map(|p| format!(" {p}:")).unwrap_or_default(),
            alerts: AlertLines::new(thresholds),
            up: None,
            devices: BTreeMap::new(),
            jobs: BTreeMap::new(),
            parts: BTreeMap::new(),
            sets: BTreeMap::new(),
            engines: BTreeMap::new(),
            conversions: BTreeMap::new(),
            queue: None,
        }
    }

    /// Returns the lines for a piece of news.
    pub fn hear(&mut self, news: News, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        match news {
            News::Up { .. } => {
                if self.up.replace(true) != Some(true) {
                    lines.push("daemon up".to_owned());
                }
            }
            News::Down { reason, retry_in_s } => {
                let again = format!("; next try in {retry_in_s:.0} s");
                if self.up.replace(false) != Some(false) {
                    lines.push(format!("daemon DOWN: {}{again}", reason.message));
                }
            }
            News::Heard(event) => {
                self.change(&event.change, &mut lines);
                self.alerts.hear(event.change, now, &mut lines);
            }
            News::Answered { .. } => {}
        }
        let (time, place) = (now.time_of_day(), &self.place);
        lines.into_iter().map(|line| format!("{time}{place} {line}\n")).collect()
    }

    fn change(&mut self, change: &Change, lines: &mut Vec<String>) {
        match change {
            Change::Snapshot(status) => self.status(status, lines),
            Change::Job(job) => self.job(job, lines),
            Change::Gone(jobs) => jobs.iter().for_each(|job| drop((self.jobs.remove(job), self.parts.remove(job)))),
            Change::Progress { job, progress } => self.progress(*job, progress, lines),
            Change::Devices { devices, .. } => devices.iter().for_each(|d| self.device(d, lines)),
            Change::Queue { paused, counts } => self.counts(*paused, *counts, lines),
            Change::Sets(sets) => self.sets(sets, lines),
            Change::Engines(engines) => engines.iter().for_each(|e| self.engine(e, lines)),
            Change::Conversions(conversions) => self.conversions(conversions, lines),
            Change::Notice(notice) => lines.push(format!("{}: {}", notice.level.to_uppercase(), notice.text)),
            Change::Log(line) if matches!(line.level.as_str(), "warn" | "error") => {
                lines.push(format!("{} {}: {}", line.level.to_uppercase(), line.source, line.text));
            }
            Change::Log(_) | Change::Preview(_) => {}
        }
    }

    fn status(&mut self, status: &Status, lines: &mut Vec<String>) {
        status.devices.iter().for_each(|d| self.device(d, lines));
        // Where there ought to be one, it is an alert.
        if let Some(problem) = status.host.gpu_problem.as_ref().filter(|problem| problem.is_absent) {
            lines.push(format!("NVIDIA: {}; {}", problem.cause, problem.hint));
        }
        self.sets(&status.sets, lines);
        status.engines.iter().for_each(|e| self.engine(e, lines));
        self.conversions(&status.conversions, lines);
        let queue = &status.queue;
        self.counts(queue.paused, Counts::from(queue), lines);
        // What was finished before anybody listened is history.
        let (over, open): (Vec<_>, Vec<_>) = queue.jobs.iter().partition(|j| j.state.is_final() && !self.jobs.contains_key(&j.job));
        for job in over {
            self.jobs.insert(job.job, told_of(job));
            self.alerts.leave_out(job.job);
        }
        for job in open {
            self.job(job, lines);
        }
    }

    fn device(&mut self, device: &DeviceReading, lines: &mut Vec<String>) {
        let health = match (&device.error, &device.health) {
            (Some(error), _) => format!("unreadable: {error}"),
            (None, Health::Ok | Health::Degraded { .. }) => String::new(),
            (None, Health::Lost { reason, .. }) => format!("LOST: {reason}"),
            (None, Health::Asleep) => "asleep".to_owned(),
        };
        let used = device.memory.map_or(0.0, |m| m.used.ratio_of(m.total));
        let told = ToldDevice { health, used, temperature: device.temperature_c };
        let changed = self.devices.get(&device.id).is_none_or(|before| {
            let warmer = before.temperature.zip(told.temperature).is_some_and(|(a, b)| (a - b).abs() >= DEGREES);
            before.health != told.health || (before.used - told.used).abs() >= MEMORY || warmer
        });
        if !changed {
            return;
        }
        let mut facts: Vec<String> = Vec::new();
        if told.health.is_empty() {
            facts.extend(device.memory.map(|m| format!("{:.1} of {:.1} GiB", m.used.as_gib(), m.total.as_gib())));
            facts.extend(device.utilization.map(|u| format!("{:.0} % busy", u * 100.0)));
            facts.extend(device.temperature_c.map(|t| format!("{t:.0} C")));
        } else {
            facts.push(told.health.clone());
        }
        let name = device.name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
        let simulated = if device.simulated { " SIMULATED" } else { "" };
        lines.push(format!("{}{name}{simulated} {}", device.id, facts.join(", ")));
        self.devices.insert(device.id, told);
    }

    fn job(&mut self, job: &JobView, lines: &mut Vec<String>) {
        let told = told_of(job);
        if self.jobs.get(&job.job) != Some(&told) {
            lines.push(told.clone());
        }
        self.jobs.insert(job.job, told);
        match job.progress {
            Some(progress) if job.state == JobState::Running => self.progress(job.job, &progress, lines),
            _ => drop(self.parts.remove(&job.job)),
        }
    }

    fn progress(&mut self, job: JobId, progress: &Progress, lines: &mut Vec<String>) {
        let Some(part) = (progress.step * PARTS).checked_div(progress.steps).filter(|part| *part > 0) else { return };
        if self.parts.insert(job, part) != Some(part) {
            let pace = progress.step_s.map(|s| format!(", {s:.2} s a step")).unwrap_or_default();
            lines.push(format!("job {job}: step {} of {}{pace}", progress.step, progress.steps));
        }
    }

    fn counts(&mut self, paused: bool, counts: Counts, lines: &mut Vec<String>) {
        if self.queue.replace((paused, counts)) == Some((paused, counts)) {
            return;
        }
        let Counts { queued, held, running, succeeded, failed, cancelled } = counts;
        let state = if paused { "queue PAUSED" } else { "queue" };
        lines.push(format!(
            "{state}: {running} running, {queued} waiting, {held} held, {succeeded} done, {failed} failed, {cancelled} cancelled"
        ));
    }

    fn sets(&mut self, sets: &[SetView], lines: &mut Vec<String>) {
        let now: BTreeMap<(String, DeviceId), String> = sets
            .iter()
            .map(|set| {
                let bytes: crate::units::Bytes = set.components.iter().map(|c| c.bytes).sum();
                ((set.name.clone(), set.device), format!("{:.1} GiB", bytes.as_gib()))
            })
            .collect();
        for ((name, device), size) in &now {
            if self.sets.get(&(name.clone(), *device)) != Some(size) {
                lines.push(format!("set {name} on {}: {size} loaded", Labelled(*device)));
            }
        }
        for (name, device) in self.sets.keys().filter(|key| !now.contains_key(*key)) {
            lines.push(format!("set {name} on {}: unloaded", Labelled(*device)));
        }
        self.sets = now;
    }

    fn engine(&mut self, engine: &EngineView, lines: &mut Vec<String>) {
        // Whether it works, jobs tell.
        let state = match engine.state {
            EngineState::Ready | EngineState::Busy => "ready".to_owned(),
            EngineState::Starting => "starting".to_owned(),
            EngineState::Backoff => format!("died: {}", engine.last_exit.as_deref().unwrap_or("for no known reason")),
            EngineState::Broken => format!("BROKEN: {}", engine.last_exit.as_deref().unwrap_or("it cannot be started")),
        };
        if self.engines.get(&engine.device) != Some(&state) {
            lines.push(format!("engine of {} {state}", Labelled(engine.device)));
            self.engines.insert(engine.device, state);
        }
    }

    fn conversions(&mut self, conversions: &[ConversionView], lines: &mut Vec<String>) {
        let told = |c: &ConversionView| {
            let source = c.source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let state = match (c.paused, c.running) {
                (true, _) => "paused".to_owned(),
                (false, false) => "waits".to_owned(),
                (false, true) => format!("{:.0} %", (c.ratio() * f64::from(PARTS)).floor() * 100.0 / f64::from(PARTS)),
            };
            (c.id, format!("conversion {}: {source} to {} {state}", c.id, c.to))
        };
        let now: BTreeMap<ConversionId, String> = conversions.iter().map(told).collect();
        lines.extend(now.iter().filter(|(id, line)| self.conversions.get(id) != Some(line)).map(|(_, line)| line.clone()));
        lines.extend(self.conversions.keys().filter(|id| !now.contains_key(id)).map(|id| format!("conversion {id}: over")));
        self.conversions = now;
    }
}

/// Returns what is told of a job in its present state.
fn told_of(job: &JobView) -> String {
    let more = match job.state {
        JobState::Queued | JobState::Held => {
            let reason = job.reason.as_ref().map(|r| format!(", waits: {r}")).unwrap_or_default();
            format!(": {}{reason}", job.spec.set.name)
        }
        JobState::Failed => {
            let failure = job.failure.as_ref();
            let hint = failure.and_then(|f| f.hint.as_ref()).map(|h| format!("; {h}")).unwrap_or_default();
            failure.map(|f| format!(": {}{hint}", f.message)).unwrap_or_default()
        }
        JobState::Done => {
            let paths: Vec<String> = job.images.iter().map(|i| i.path.display().to_string()).collect();
            format!(": {}", paths.join(", "))
        }
        JobState::Running | JobState::Paused | JobState::Cancelled => String::new(),
    };
    format!("job {} {}{more}", job.job, job.state)
}
