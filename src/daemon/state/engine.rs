//! One engine as the core sees it.
//!
//! ```text
//!            spawn            ready              assign            ordered
//!   absent --------> starting ------> ready <-----------> assigning -----> busy
//!     ^ ^               |              | ^                                  |
//!     | |   it died     v              | '----------- run ended ------------'
//!     | '---------- backoff <----------+------------------------------------'
//!     |   idle                         |
//!     '------------- ending <----------'       broken: cannot be started at all
//! ```
//!
//! Ends before `ready` are failed starts; so many in a row, and nobody waits for it any longer.

use std::time::Duration;

use crate::config::Supervision;
use crate::units::{DeviceId, JobId, RunId, Timestamp};
use crate::wire::work::Memory;
use crate::wire::{EngineState, EngineView};

/// After living this long, an engine's earlier deaths are forgotten.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// Starts in a row that may fail before the jobs that wait for the engine fail too.
///
/// The pauses between six are 15.5 s together, by default: what mends itself has by then done so, such as a driver that
/// is loaded anew or a build that puts the program in its place. What has not needs its operator, who should hear
/// of it while they still look. A start that takes long counts only when it has ended.
pub const FAILED_STARTS: u32 = 6;

/// What an engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It was not started, or has ended in order.
    Absent,
    /// It was started and is not ready yet.
    Starting,
    /// It waits for a job since then.
    Ready(Timestamp),
    /// A job was chosen for it; the ledger is being told.
    Assigning(JobId),
    /// It runs a job.
    Busy(RunId),
    /// It measures the machine.
    Calibrating,
    /// It was told to end, and is killed at that time.
    Ending(Timestamp),
    /// It died, and is started again at that time.
    Backoff(Timestamp),
    /// It cannot be started; tried again at that time.
    Broken(Timestamp),
}

/// One engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// Its device.
    pub device: DeviceId,
    /// Counts its processes, so that the last words of one are not taken for the next one's.
    pub generation: u64,
    /// What it is doing.
    pub mode: Mode,
    /// Its process, while it lives.
    pub pid: Option<u32>,
    /// What it calls its device and library.
    pub about: Option<String>,
    /// What it holds.
    pub memory: Option<Memory>,
    /// How it last ended.
    pub last_exit: Option<String>,
    /// When its process was started.
    pub since: Timestamp,
    /// Deaths in a row of processes that were ready.
    pub deaths: u32,
    /// Starts in a row that ended before the engine was ready.
    pub failed_starts: u32,
}

impl Engine {
    /// Returns an engine that was not started.
    #[must_use]
    pub fn absent(device: DeviceId) -> Self {
        Self {
            device,
            generation: 0,
            mode: Mode::Absent,
            pid: None,
            about: None,
            memory: None,
            last_exit: None,
            since: Timestamp(0),
            deaths: 0,
            failed_starts: 0,
        }
    }

    /// Notes that a process is being started, and returns its number.
    pub fn start(&mut self, now: Timestamp) -> u64 {
        self.generation += 1;
        self.mode = Mode::Starting;
        self.since = now;
        self.generation
    }

    /// Notes that it can be given jobs: whatever kept it from starting is over.
    pub fn ready(&mut self, about: String, now: Timestamp) {
        self.mode = Mode::Ready(now);
        self.about = Some(about);
        self.failed_starts = 0;
    }

    /// Notes that its process is gone. `died` tells deaths from orderly ends.
    pub fn gone(&mut self, died: bool, patience: &Supervision, now: Timestamp) {
        let was_ready = self.mode != Mode::Starting;
        self.pid = None;
        self.memory = None;
        self.about = None;
        if !died {
            (self.mode, self.deaths, self.failed_starts) = (Mode::Absent, 0, 0);
            return;
        }
        if !was_ready {
            self.mode = Mode::Backoff(now.plus(self.failed_start(patience)));
            return;
        }
        if now.since(self.since) >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        let pause = pause(patience, self.deaths);
        self.deaths += 1;
        self.mode = Mode::Backoff(now.plus(pause));
    }

    /// Notes that it cannot be started.
    pub fn broken(&mut self, patience: &Supervision, now: Timestamp) {
        self.pid = None;
        self.mode = Mode::Broken(now.plus(self.failed_start(patience)));
    }

    /// Counts a start that has failed, and returns the pause before the next.
    fn failed_start(&mut self, patience: &Supervision) -> Duration {
        let pause = pause(patience, self.failed_starts);
        self.failed_starts += 1;
        pause
    }

    /// Notes that its operator says that it is mended: it is started when it is wanted, as if it had never failed.
    pub fn mended(&mut self) {
        if matches!(self.mode, Mode::Backoff(_) | Mode::Broken(_)) {
            (self.mode, self.failed_starts) = (Mode::Absent, 0);
        }
    }

    /// Returns whether a process is there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.mode {
            Mode::Absent | Mode::Backoff(_) | Mode::Broken(_) => false,
            Mode::Starting | Mode::Ready(_) | Mode::Assigning(_) | Mode::Busy(_) | Mode::Calibrating | Mode::Ending(_) => true,
        }
    }

    /// Returns the engine as clients see it.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> EngineView {
        let (state, retry) = match self.mode {
            Mode::Starting => (EngineState::Starting, None),
            Mode::Absent | Mode::Ready(_) | Mode::Ending(_) => (EngineState::Ready, None),
            Mode::Assigning(_) | Mode::Busy(_) | Mode::Calibrating => (EngineState::Busy, None),
            Mode::Backoff(until) => (EngineState::Backoff, Some(until)),
            Mode::Broken(until) => (EngineState::Broken, Some(until)),
        };
        EngineView {
            device: self.device,
            state,
            pid: self.pid,
            about: self.about.clone(),
            retry_in_s: retry.map(|until| until.since(now).as_secs_f64()),
            last_exit: self.last_exit.clone(),
        }
    }
}

/// Returns the pause after one more failure than `before` in a row.
fn pause(patience: &Supervision, before: u32) -> Duration {
    patience.backoff.saturating_mul(1 << before.min(16)).min(patience.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_health_forgets() {
        let patience = Supervision::default();
        let mut engine = Engine::absent(DeviceId::Cpu);
        let mut pauses = Vec::new();
        let ready = |engine: &mut Engine| {
            engine.start(Timestamp(0));
            engine.ready(String::new(), Timestamp(0));
        };
        for _ in 0..8 {
            ready(&mut engine);
            engine.gone(true, &patience, Timestamp(0));
            let Mode::Backoff(until) = engine.mode else { panic!("{:?}", engine.mode) };
            pauses.push(until.0);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        ready(&mut engine);
        engine.gone(true, &patience, Timestamp(60_000));
        assert_eq!(engine.mode, Mode::Backoff(Timestamp(60_500)));
        engine.gone(false, &patience, Timestamp(0));
        assert_eq!((engine.mode, engine.deaths), (Mode::Absent, 0));
    }

    #[test]
    fn failed_starts_are_counted_until_one_succeeds() {
        let patience = Supervision::default();
        let mut engine = Engine::absent(DeviceId::Cpu);
        let fail = |engine: &mut Engine| {
            engine.start(Timestamp(0));
            engine.gone(true, &patience, Timestamp(100_000));
            let Mode::Backoff(until) = engine.mode else { panic!("{:?}", engine.mode) };
            (engine.failed_starts, until.0 - 100_000)
        };
        assert_eq!([fail(&mut engine), fail(&mut engine), fail(&mut engine)], [(1, 500), (2, 1_000), (3, 2_000)], "slow ones too");
        engine.start(Timestamp(0));
        engine.ready(String::new(), Timestamp(0));
        assert_eq!(fail(&mut engine), (1, 500), "a good start makes up for all");
        engine.mended();
        assert_eq!((engine.mode, fail(&mut engine)), (Mode::Absent, (1, 500)));
        let between: u128 = (0..FAILED_STARTS - 1).map(|n| pause(&patience, n).as_millis()).sum();
        assert_eq!(between, 15_500, "the reasoning above rests on it");
    }
}
