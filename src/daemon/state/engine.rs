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

use std::time::Duration;

use crate::config::Supervision;
use crate::units::{DeviceId, JobId, RunId, Timestamp};
use crate::wire::work::Memory;
use crate::wire::{EngineState, EngineView};

/// After living this long, an engine's earlier deaths are forgotten.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// Pause before a program that could not be started is tried again.
const BROKEN_PAUSE: Duration = Duration::from_secs(30);

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
    /// When a job last used it.
    pub last_used: Option<Timestamp>,
    /// Deaths in a row.
    pub deaths: u32,
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
            last_used: None,
            deaths: 0,
        }
    }

    /// Notes that a process is being started, and returns its number.
    pub fn start(&mut self, now: Timestamp) -> u64 {
        self.generation += 1;
        self.mode = Mode::Starting;
        self.since = now;
        self.generation
    }

    /// Notes that its process is gone. `died` tells deaths from orderly ends.
    pub fn gone(&mut self, died: bool, patience: &Supervision, now: Timestamp) {
        self.pid = None;
        self.memory = None;
        self.about = None;
        if !died {
            (self.mode, self.deaths) = (Mode::Absent, 0);
            return;
        }
        if now.since(self.since) >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        let pause = patience.backoff.saturating_mul(1 << self.deaths.min(16)).min(patience.backoff_max);
        self.deaths += 1;
        self.mode = Mode::Backoff(now.plus(pause));
    }

    /// Notes that it cannot be started.
    pub fn broken(&mut self, now: Timestamp) {
        self.pid = None;
        self.mode = Mode::Broken(now.plus(BROKEN_PAUSE));
    }

    /// Returns whether a process is there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.mode {
            Mode::Absent | Mode::Backoff(_) | Mode::Broken(_) => false,
            Mode::Starting | Mode::Ready(_) | Mode::Assigning(_) | Mode::Busy(_) | Mode::Ending(_) => true,
        }
    }

    /// Returns the engine as clients see it.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> EngineView {
        let (state, retry) = match self.mode {
            Mode::Starting => (EngineState::Starting, None),
            Mode::Absent | Mode::Ready(_) | Mode::Ending(_) => (EngineState::Ready, None),
            Mode::Assigning(_) | Mode::Busy(_) => (EngineState::Busy, None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_health_forgets() {
        let patience = Supervision::default();
        let mut engine = Engine::absent(DeviceId::Cpu);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            engine.start(Timestamp(0));
            engine.gone(true, &patience, Timestamp(0));
            let Mode::Backoff(until) = engine.mode else { panic!("{:?}", engine.mode) };
            pauses.push(until.0);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        engine.start(Timestamp(0));
        engine.gone(true, &patience, Timestamp(60_000));
        assert_eq!(engine.mode, Mode::Backoff(Timestamp(60_500)));
        engine.gone(false, &patience, Timestamp(0));
        assert_eq!((engine.mode, engine.deaths), (Mode::Absent, 0));
    }
}
