//! What the daemon has told, folded from its snapshot and its changes.
//!
//! Jobs stand in the order of screens: those that an engine holds, those that wait in the order in
//! which they will run, those that are finished with the newest first.

use std::collections::VecDeque;

use super::history::History;
use crate::devices::{DeviceReading, HostReading};
use crate::jobs::{JobState, JobView, job};
use crate::quant::advice::Suggestion;
use crate::units::{DeviceId, JobId, Timestamp};
use crate::wire::control::Counts;
use crate::wire::{CachedView, Change, ConversionView, EngineView, LogLine, Notice, QueueView, SetView, Status};
use crate::workflow::ModelEntry;

/// Lines of the log that are kept.
pub const LOG_LINES: usize = 2000;
/// Notices that are kept.
const NOTICES: usize = 200;
/// Finished jobs that are kept beyond those of the snapshot.
const FINISHED: usize = 200;

/// What the daemon has told.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The time at which all this is looked at.
    pub now: Timestamp,
    /// When something was last heard; `None` before the first snapshot.
    pub heard_at: Option<Timestamp>,
    /// The time of the last snapshot, by the daemon's clock.
    pub told_at: Option<Timestamp>,
    /// When the daemon started.
    pub daemon_since: Option<Timestamp>,
    /// Every device.
    pub devices: Vec<DeviceReading>,
    /// The host.
    pub host: HostReading,
    /// Loaded model sets.
    pub sets: Vec<SetView>,
    /// Engines.
    pub engines: Vec<EngineView>,
    /// Conversions that are not there yet.
    pub conversions: Vec<ConversionView>,
    /// Conversions that are there, once asked for.
    pub cached: Option<Vec<CachedView>>,
    /// Counts of jobs.
    pub counts: Counts,
    /// Whether the operator keeps new jobs from starting.
    pub paused: bool,
    /// Jobs, see above for their order.
    pub jobs: Vec<JobView>,
    /// Things to hear of, the oldest first.
    pub notices: VecDeque<Notice>,
    /// Lines of the log, the oldest first.
    pub log: VecDeque<LogLine>,
    /// Lines of the log that were forgotten again.
    pub log_dropped: u64,
    /// The number of the last line that was there when the log was asked for.
    pub log_read: Option<u64>,
    /// Models there are, once asked for.
    pub models: Option<Vec<ModelEntry>>,
    /// Which precisions of a model suit this box, and of which, once asked for.
    pub advice: Option<(String, Vec<Suggestion>)>,
    /// What devices did lately.
    pub history: History,
    /// Whether the order of waiting jobs may have changed without our hearing how.
    pub order_doubtful: bool,
}

impl Known {
    /// Returns how many jobs wait, held or not.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.counts.queued + self.counts.held
    }

    /// Returns how many jobs are over, however they ended.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.counts.succeeded + self.counts.failed + self.counts.cancelled
    }

    /// Takes in a change.
    pub fn apply(&mut self, change: Change, now: Timestamp) {
        self.heard_at = Some(now);
        match change {
            Change::Snapshot(status) => self.replace(*status, now),
            Change::Job(job) => self.put(*job),
            Change::Gone(gone) => self.jobs.retain(|j| !gone.contains(&j.job)),
            Change::Progress { job, progress } => {
                if let Some(job) = self.jobs.iter_mut().find(|j| j.job == job) {
                    job.progress = Some(progress);
                }
            }
            // Previews belong to the gallery.
            Change::Preview(_) => {}
            Change::Devices { devices, host } => {
                self.history.push(&devices, &host, now);
                self.devices = devices;
                self.host = *host;
            }
            Change::Queue { paused, counts } => {
                self.paused = paused;
                self.counts = counts;
            }
            Change::Sets(sets) => self.sets = sets,
            Change::Engines(engines) => self.engines = engines,
            Change::Conversions(conversions) => self.conversions = conversions,
            Change::Notice(notice) => {
                if self.notices.len() == NOTICES {
                    self.notices.pop_front();
                }
                self.notices.push_back(notice);
            }
            // What was there when the log was asked for may be told after it.
            Change::Log(line) => {
                if self.log_read.is_none_or(|read| line.seq > read) {
                    self.log_line(line);
                }
            }
        }
    }

    /// Another conversation begins, with a daemon that may count the lines of its log anew.
    pub fn begin(&mut self) {
        self.log_read = None;
    }

    /// Takes in everything at one moment.
    pub fn replace(&mut self, status: Status, now: Timestamp) {
        self.heard_at = Some(now);
        if self.told_at.is_some_and(|before| status.time <= before) {
            // A recording was wound back, or a clock was: what comes later is no past.
            self.history = History::default();
            self.log.clear();
        }
        self.told_at = Some(status.time);
        let up = std::time::Duration::try_from_secs_f64(status.daemon.uptime_s.max(0.0)).unwrap_or_default();
        self.daemon_since = Some(Timestamp(status.time.0.saturating_sub(i64::try_from(up.as_millis()).unwrap_or(0))));
        self.history.push(&status.devices, &status.host, now);
        self.devices = status.devices;
        self.host = status.host;
        self.sets = status.sets;
        self.engines = status.engines;
        self.conversions = status.conversions;
        self.take_queue(status.queue);
        self.notices = status.notices.into();
    }

    /// Takes in the queue as a whole, in its true order.
    pub fn take_queue(&mut self, queue: QueueView) {
        self.paused = queue.paused;
        self.counts = Counts::from(&queue);
        self.jobs = queue.jobs;
        self.order_doubtful = false;
    }

    /// Takes in the log as a whole. Lines that were heard before are among these.
    pub fn replace_log(&mut self, lines: Vec<LogLine>) {
        self.log.clear();
        self.log_read = lines.last().map(|line| line.seq);
        for line in lines {
            self.log_line(line);
        }
    }

    fn log_line(&mut self, line: LogLine) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
            self.log_dropped += 1;
        }
        self.log.push_back(line);
    }

    /// Returns the job of that number.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&JobView> {
        self.jobs.iter().find(|j| j.job == id)
    }

    /// Returns the job that an engine holds on a device.
    #[must_use]
    pub fn active_on(&self, device: DeviceId) -> Option<&JobView> {
        self.jobs.iter().find(|j| j.state.is_active() && j.spec.compute == device)
    }

    /// Returns the engine of a device.
    #[must_use]
    pub fn engine(&self, device: DeviceId) -> Option<&EngineView> {
        self.engines.iter().find(|e| e.device == device)
    }

    /// Returns how many jobs wait that are not among [`Known::jobs`].
    #[must_use]
    pub fn unseen_waiting(&self) -> u64 {
        let seen = self.jobs.iter().filter(|j| matches!(j.state, JobState::Queued | JobState::Held)).count() as u64;
        (self.counts.queued + self.counts.held).saturating_sub(seen)
    }

    /// Takes in a job that is new or changed, and finds its place.
    pub fn put(&mut self, job: JobView) {
        let group = group(job.state);
        if let Some(at) = self.jobs.iter().position(|j| j.job == job.job) {
            if self::group(self.jobs[at].state) == group {
                // A waiting job that changed while it waits may have been moved.
                self.order_doubtful |= group == Group::Waiting;
                self.jobs[at] = job;
                return;
            }
            self.jobs.remove(at);
        }
        let before_finished = || self.jobs.iter().position(|j| self::group(j.state) == Group::Finished).unwrap_or(self.jobs.len());
        let first_waiting = self.jobs.iter().position(|j| self::group(j.state) != Group::Active).unwrap_or(self.jobs.len());
        let place = match group {
            Group::Active => first_waiting,
            Group::Finished => before_finished(),
            Group::Waiting => {
                let lower = |j: &JobView| self::group(j.state) == Group::Waiting && j.spec.priority < job.spec.priority;
                self.jobs.iter().position(lower).unwrap_or_else(before_finished)
            }
        };
        // A job that an engine gave back is tried again before others; where one tried again stands is not known.
        let given_back = group == Group::Waiting && job.attempts > 0;
        self.order_doubtful |= given_back;
        self.jobs.insert(if given_back { first_waiting } else { place }, job);
        self.forget_old();
    }

    fn forget_old(&mut self) {
        let (mut finished, lately) = (0, job::lately(self.now));
        self.jobs.retain(|job| {
            finished += usize::from(group(job.state) == Group::Finished);
            // Alerts tell of what went wrong, whatever ended since.
            finished <= FINISHED || job.went_wrong_since(lately)
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Active,
    Waiting,
    Finished,
}

fn group(state: JobState) -> Group {
    match state {
        JobState::Running | JobState::Paused => Group::Active,
        JobState::Queued | JobState::Held => Group::Waiting,
        JobState::Done | JobState::Failed | JobState::Cancelled => Group::Finished,
    }
}
