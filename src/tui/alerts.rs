//! What needs a look or a hand now: values beyond their thresholds, and what went wrong.
//!
//! What a device or a set is can be seen at every moment ([`seen`]); since when, only by having looked. So the list is made anew
//! with everything that is heard, and an alert that was there before keeps the time since which it is there ([`Alerts`]).

use std::collections::BTreeSet;

use super::known::Known;
use super::wording;
use crate::devices::{DeviceKind, DeviceReading, Health, HostReading};
use crate::jobs::{JobState, JobView, PartPlacement, Placement, WaitReason, job};
use crate::placement::plan::total;
use crate::placement::{Share, verify};
use crate::units::{Bytes, DeviceId, Grade, JobId, Thresholds, Timestamp};
use crate::wire::status::PartView;
use crate::wire::{EngineState, EngineView, SetView, Status};
use crate::workflow::SetId;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// No NVIDIA device can be read.
    Driver,
    /// A device does not answer any more.
    Lost(DeviceId),
    /// A device cannot be read.
    Unreadable(DeviceId),
    /// A device is hot.
    Temperature(DeviceId),
    /// A device's memory is nearly full.
    Memory(DeviceId),
    /// Less of a device's memory is free than its operator wants.
    Floor(DeviceId),
    /// A device has no time left.
    Load(DeviceId),
    /// A file system is nearly full; where it is mounted.
    Disk(String),
    /// Jobs wait for room on a disk.
    NoRoom,
    /// A device's engine does not live.
    Engine(DeviceId),
    /// A set's weights are not where its plan puts them.
    Set(SetId, DeviceId),
    /// A job failed.
    Failed(JobId),
    /// A job's weights were not where its plan put them.
    NotKept(JobId),
}

impl About {
    /// Returns the job that is over and that it is about.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Failed(id) | Self::NotKept(id) => Some(*id),
            Self::Driver
            | Self::Lost(_)
            | Self::Unreadable(_)
            | Self::Temperature(_)
            | Self::Memory(_)
            | Self::Floor(_)
            | Self::Load(_)
            | Self::Disk(_)
            | Self::NoRoom
            | Self::Engine(_)
            | Self::Set(..) => None,
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// What it is about.
    pub about: About,
    /// How bad it is.
    pub grade: Grade,
    /// The same in words.
    pub what: String,
    /// The value with its unit, or what happened.
    pub value: String,
    /// The threshold that is passed, where there is one.
    pub limit: Option<String>,
    /// Since when, as far as it can be seen or was seen.
    pub since: Option<Timestamp>,
    /// What to do about it.
    pub hint: String,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Every device.
    pub devices: &'a [DeviceReading],
    /// The host.
    pub host: &'a HostReading,
    /// Engines.
    pub engines: &'a [EngineView],
    /// Loaded model sets.
    pub sets: &'a [SetView],
    /// Jobs.
    pub jobs: &'a [JobView],
}

impl<'a> From<&'a Status> for Sight<'a> {
    fn from(status: &'a Status) -> Self {
        let Status { devices, host, engines, sets, queue, .. } = status;
        Self { devices, host, engines, sets, jobs: &queue.jobs }
    }
}

impl<'a> From<&'a Known> for Sight<'a> {
    fn from(known: &'a Known) -> Self {
        let Known { devices, host, engines, sets, jobs, .. } = known;
        Self { devices, host, engines, sets, jobs }
    }
}

/// Returns everything that needs a look or a hand at this moment, the worst first.
#[must_use]
pub fn seen(sight: Sight<'_>, limits: Thresholds, now: Timestamp) -> Vec<Alert> {
    let mut look = Look { limits, now, all: Vec::new() };
    look.of_devices(sight);
    look.of_engines(sight);
    look.of_jobs(sight.jobs);
    look.all.sort_by_key(|alert| std::cmp::Reverse(alert.grade));
    look.all
}

/// Everything that needs a look or a hand, the worst first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    all: Vec<Alert>,
    hidden: BTreeSet<JobId>,
}

impl Alerts {
    /// Returns all of them, the worst first.
    #[must_use]
    pub fn all(&self) -> &[Alert] {
        &self.all
    }

    /// Returns the worst grade among them.
    #[must_use]
    pub fn worst(&self) -> Grade {
        self.all.first().map_or(Grade::Fine, |alert| alert.grade)
    }

    /// Hides what is told of a job that is over.
    pub fn hide(&mut self, job: JobId) {
        self.hidden.insert(job);
        self.all.retain(|alert| alert.about.job() != Some(job));
    }

    /// Looks at what is known now.
    pub fn look(&mut self, known: &Known, limits: Thresholds, now: Timestamp) {
        let before = std::mem::take(&mut self.all);
        if known.heard_at.is_none() {
            return;
        }
        self.all = seen(Sight::from(known), limits, now);
        self.all.retain(|alert| alert.about.job().is_none_or(|job| !self.hidden.contains(&job)));
        for alert in &mut self.all {
            // What happened in a job happened when it ended.
            let old = before.iter().find(|old| old.about == alert.about).and_then(|old| old.since);
            alert.since = old.into_iter().chain(alert.since).min().or(Some(now));
        }
    }
}

/// Alerts that are being gathered.
struct Look {
    limits: Thresholds,
    now: Timestamp,
    all: Vec<Alert>,
}

impl Look {
    fn add(&mut self, about: About, grade: Grade, told: [String; 3], limit: Option<String>) {
        let [what, value, hint] = told;
        self.all.push(Alert { about, grade, what, value, limit, since: None, hint });
    }

    /// Adds a value that lies beyond one of its thresholds, each of which `write` writes with its unit.
    fn value(&mut self, about: About, limits: [f64; 2], value: f64, write: impl Fn(f64) -> String, told: [String; 3]) {
        let grade = Thresholds::grade(limits, value);
        let limit = match grade {
            Grade::Fine => return,
            Grade::Warn => limits[0],
            Grade::Crit => limits[1],
        };
        self.add(about, grade, told, Some(write(limit)));
    }

    fn of_devices(&mut self, seen: Sight<'_>) {
        if let Some(problem) = seen.host.gpu_problem.as_ref().filter(|problem| !problem.is_absent) {
            self.add(About::Driver, Grade::Crit, ["NVIDIA".to_owned(), problem.cause.clone(), problem.hint.clone()], None);
        }
        for reading in seen.devices {
            self.of_device(seen.host, reading);
        }
        for disk in &seen.host.disks {
            let used = 1.0 - disk.free.ratio_of(disk.total);
            let free = format!("{} GiB free", wording::gib(disk.free));
            let hint = format!("remove conversions in the cache, or pictures; {} of {} are used", wording::percent(used), disk.total);
            let told = [format!("disk {}", disk.mount), free, hint];
            if disk.total > Bytes::ZERO {
                self.value(About::Disk(disk.mount.clone()), self.limits.mem, used, wording::percent, told);
            }
        }
    }

    fn of_device(&mut self, host: &HostReading, reading: &DeviceReading) {
        let id = reading.id;
        match &reading.health {
            Health::Lost { reason, for_s } => {
                let hint = "look at nvidia-smi and at the kernel's log; a reset or a reboot brings it back".to_owned();
                self.add(About::Lost(id), Grade::Crit, [format!("{id} LOST"), reason.clone(), hint], None);
                let ago = std::time::Duration::try_from_secs_f64(for_s.max(0.0)).unwrap_or_default();
                if let Some(alert) = self.all.last_mut() {
                    alert.since = Some(Timestamp(self.now.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(0))));
                }
                return;
            }
            Health::Asleep => return,
            Health::Ok | Health::Degraded { .. } => {}
        }
        if let Some(error) = &reading.error {
            let hint = "perilune doctor says what is missing".to_owned();
            self.add(About::Unreadable(id), Grade::Crit, [format!("{id} unreadable"), error.clone(), hint], None);
            return;
        }
        let is_host = reading.kind == DeviceKind::Cpu;
        if let Some(degrees) = reading.temperature_c {
            let hint = "look at its fans and the air around it; nvidia-smi -pl lowers its power".to_owned();
            let write = |t: f64| format!("{t:.0} C");
            self.value(About::Temperature(id), self.limits.temp, degrees, write, [format!("{id} temp"), write(degrees), hint]);
        }
        let memory = reading.memory.or(host.memory.filter(|_| is_host));
        // File systems are told of by their names, where these are known.
        let by_name = reading.kind == DeviceKind::Disk && !host.disks.is_empty();
        if let Some(memory) = memory.filter(|m| m.total > Bytes::ZERO && !by_name) {
            let hint = match reading.kind {
                DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim => "move weights elsewhere in the tuner, or unload sets",
                DeviceKind::Cpu => "unload sets, or give the disk what the host's memory holds",
                DeviceKind::Disk => "remove conversions in the cache, or pictures",
            };
            let share = memory.used.ratio_of(memory.total);
            let is_full = Thresholds::grade(self.limits.mem, share) != Grade::Fine;
            // A value has one mark, and one alert.
            if let Some(floor) = reading.floor.filter(|floor| memory.free < *floor && !is_full) {
                let free = format!("{} GiB free", wording::gib(memory.free));
                let told = [format!("{id} floor"), free, format!("its profile wants more to stay free; {hint}")];
                self.add(About::Floor(id), Grade::Warn, told, Some(format!("{} GiB", wording::gib(floor))));
            }
            let told = [format!("{id} memory"), format!("{} GiB", wording::used_of(memory)), hint.to_owned()];
            self.value(About::Memory(id), self.limits.mem, share, wording::percent, told);
        }
        let load = reading.utilization.or(host.cpu_utilization.filter(|_| is_host));
        if let (Some(share), Some(limits)) = (load, self.limits.util) {
            let hint = "see which processes hold the device".to_owned();
            self.value(About::Load(id), limits, share, wording::percent, [format!("{id} load"), wording::percent(share), hint]);
        }
    }

    fn of_engines(&mut self, seen: Sight<'_>) {
        for EngineView { device, state, last_exit, .. } in seen.engines {
            let value = match state {
                EngineState::Broken => "cannot start",
                EngineState::Backoff => "is started again",
                EngineState::Starting | EngineState::Ready | EngineState::Busy => continue,
            };
            let hint = last_exit.as_ref().map_or_else(|| "read the log".to_owned(), |exit| format!("{exit}; read the log"));
            self.add(About::Engine(*device), Grade::Crit, [format!("engine {device}"), value.to_owned(), hint], None);
        }
        for set in seen.sets {
            if let Some(line) = not_kept(set) {
                let hint = "free what others hold of the device and load the set anew, or plan it otherwise".to_owned();
                let about = About::Set(set.id.clone(), set.device);
                self.add(about, Grade::Crit, [format!("set {}", set.name), line, hint], None);
            }
        }
    }

    fn of_jobs(&mut self, jobs: &[JobView]) {
        let full = jobs.iter().filter(|job| job.reason == Some(WaitReason::Disk)).count();
        if full > 0 {
            let hint = "remove conversions in the cache; the jobs go on by themselves".to_owned();
            let told = ["disk full".to_owned(), wording::count(full as u64, "waiting job"), hint];
            self.add(About::NoRoom, Grade::Crit, told, None);
        }
        // Whoever looks once a day sees it, unless it is hidden before.
        let lately = job::lately(self.now);
        for job in jobs.iter().filter(|job| job.finished.is_some_and(|at| at > lately)) {
            self.of_job(job);
        }
    }

    fn of_job(&mut self, job: &JobView) {
        if job.state == JobState::Failed {
            let failure = job.failure.as_ref();
            let value = failure.map_or_else(|| "it is not known why".to_owned(), |f| f.message.clone());
            let hint = failure.and_then(|f| f.hint.clone()).unwrap_or_else(|| "try it again in the queue, or read the log".to_owned());
            self.add(About::Failed(job.job), Grade::Crit, [format!("job {} FAILED", job.job), value, hint], None);
        } else if let Some(placement) = &job.placement {
            let broken = verify::broken(job.spec.compute, &asked_of_needed(placement), &placement.measured);
            let Some(line) = broken.into_iter().next() else { return };
            let hint = "its picture is right, its pace is not what was planned; the details say where".to_owned();
            self.add(About::NotKept(job.job), Grade::Crit, [format!("job {} plan", job.job), line, hint], None);
        } else {
            return;
        }
        if let Some(alert) = self.all.last_mut() {
            alert.since = job.finished;
        }
    }
}

/// Returns how bad it is that a device holds so much of what was asked for it: a plan that was not kept needs a hand, and a
/// device that computes with less than it might have, a look.
#[must_use]
pub fn kept(compute: DeviceId, device: DeviceId, asked: Bytes, measured: Bytes) -> Grade {
    if verify::is_kept(compute, device, asked, measured) { differing(asked, measured) } else { Grade::Crit }
}

/// Returns how bad it is that a part's weights are where they are. A part of which nothing is there was not needed yet.
#[must_use]
pub fn part_kept(set: &SetView, part: &PartView) -> Grade {
    if is_there(set, part) { kept(set.device, part.device, part.planned, part.bytes) } else { Grade::Fine }
}

/// Returns what a set has of its plan and what that plan is, for the parts of which anything is there.
#[must_use]
pub fn planned_and_real(set: &SetView) -> (Bytes, Bytes) {
    let there = || set.components.iter().filter(|part| is_there(set, part));
    (there().map(|part| part.planned).sum(), there().map(|part| part.bytes).sum())
}

/// Returns whether anything of a part is there, on whichever device.
fn is_there(set: &SetView, part: &PartView) -> bool {
    set.components.iter().any(|other| other.copy == part.copy && other.bytes > Bytes::ZERO)
}

/// Returns what a run asked of each device for what it needed: nothing of a part of which nothing was there.
#[must_use]
pub fn asked_of_needed(placement: &Placement) -> Vec<Share> {
    let is_away = |part: &&PartPlacement| part.measured.iter().all(|share| share.bytes == Bytes::ZERO);
    let away = total(&placement.parts.iter().filter(is_away).map(|part| part.asked.clone()).collect::<Vec<_>>());
    let of = |device| away.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
    placement.asked.iter().map(|share| Share { bytes: share.bytes.saturating_sub(of(share.device)), ..*share }).collect()
}

/// Returns whether it needs a look how far two amounts are apart.
#[must_use]
pub fn differing(asked: Bytes, measured: Bytes) -> Grade {
    let differs = asked > Bytes::ZERO && asked.0.abs_diff(measured.0) > asked.0 / 10;
    if differs { Grade::Warn } else { Grade::Fine }
}

/// Says how a set's weights are not where its plan puts them, if they are not.
fn not_kept(set: &SetView) -> Option<String> {
    let part = set.components.iter().find(|part| part_kept(set, part) == Grade::Crit)?;
    Some(format!("{} holds {} of {} planned of its {}", part.device, part.bytes, part.planned, part.role.name()))
}
