//! The states of a job and the moves between them.
//!
//! ```text
//!            hold               start              finish
//!   held <---------> queued ------------> running ---------> done
//!    |    release      |  ^                |  ^  \---------> failed
//!    |                 |  '---interrupt----'  |               |
//!    |                 |                pause | resume        |
//!    |                 |                      v               |
//!    '---> cancelled <-'<------------------ paused            |
//!              |                                              |
//!              '------------------ retry: queued -------------'
//! ```
//!
//! A paused job whose run is interrupted is held.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::JobId;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Waits for its operator to release it.
    Held,
    /// An engine works on it.
    Running,
    /// An engine holds it between two steps.
    Paused,
    /// Its pictures are saved.
    Done,
    /// It was tried and failed.
    Failed,
    /// Its operator took it back.
    Cancelled,
}

/// A move from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An engine began.
    Start,
    /// The operator keeps it back.
    Hold,
    /// The operator lets it go on.
    Release,
    /// The engine stopped between two steps.
    Pause,
    /// The engine goes on.
    Resume,
    /// The engine went away; the job will be tried again.
    Interrupt,
    /// All pictures are saved.
    Finish,
    /// It will not succeed.
    Fail,
    /// The operator took it back.
    Cancel,
    /// The operator wants it tried again.
    Retry,
}

/// A move that the present state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {from} job cannot {}", verb(*.step))]
pub struct IllegalMove {
    /// The present state.
    pub from: JobState,
    /// The move.
    pub step: Step,
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Start => "be started",
        Step::Hold => "be held",
        Step::Release => "be released",
        Step::Pause => "be paused",
        Step::Resume => "be resumed",
        Step::Interrupt => "be interrupted",
        Step::Finish => "finish",
        Step::Fail => "fail",
        Step::Cancel => "be cancelled",
        Step::Retry => "be retried",
    }
}

impl JobState {
    /// Every state, in the order of menus.
    pub const ALL: &[Self] = &[Self::Running, Self::Paused, Self::Queued, Self::Held, Self::Done, Self::Failed, Self::Cancelled];

    /// Returns the state after a run was cut off: what the operator had paused is not started again behind their back.
    #[must_use]
    pub fn given_back(self) -> Self {
        match self {
            Self::Paused => Self::Held,
            Self::Running => Self::Queued,
            Self::Queued | Self::Held | Self::Done | Self::Failed | Self::Cancelled => self,
        }
    }

    /// Returns the state after a move.
    pub fn after(self, step: Step) -> Result<Self, IllegalMove> {
        let next = match (self, step) {
            (Self::Queued, Step::Start) | (Self::Paused, Step::Resume) => Self::Running,
            (Self::Queued, Step::Hold) => Self::Held,
            (Self::Running | Self::Paused, Step::Interrupt) => self.given_back(),
            (Self::Held, Step::Release) | (Self::Failed | Self::Cancelled, Step::Retry) => Self::Queued,
            (Self::Running, Step::Pause) => Self::Paused,
            (Self::Running, Step::Finish) => Self::Done,
            (Self::Queued | Self::Held | Self::Running | Self::Paused, Step::Fail) => Self::Failed,
            (Self::Queued | Self::Held | Self::Running | Self::Paused, Step::Cancel) => Self::Cancelled,
            (
                Self::Queued | Self::Held | Self::Running | Self::Paused | Self::Done | Self::Failed | Self::Cancelled,
                Step::Start
                | Step::Hold
                | Step::Release
                | Step::Pause
                | Step::Resume
                | Step::Interrupt
                | Step::Finish
                | Step::Fail
                | Step::Cancel
                | Step::Retry,
            ) => return Err(IllegalMove { from: self, step }),
        };
        Ok(next)
    }

    /// Returns whether nothing more will happen unless an operator asks for it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Returns whether an engine holds it.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Returns the name used in JSON, in the ledger and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a state of a job; use queued, held, running, paused, done, failed or cancelled")]
pub struct JobStateError {
    /// What was typed.
    pub text: String,
}

impl FromStr for JobState {
    type Err = JobStateError;
    fn from_str(text: &str) -> Result<Self, JobStateError> {
        Self::ALL.iter().copied().find(|s| s.name() == text).ok_or_else(|| JobStateError { text: text.to_owned() })
    }
}

/// Why a queued job does not run yet. The list is closed: screens and scripts may rely on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Another job is in front of it on the same device.
    After(JobId),
    /// The operator holds the job, or has paused the queue.
    Operator,
    /// The device's engine is starting, or is started again after it died.
    Engine,
    /// The device does not exist or does not answer.
    Device,
    /// Its diffusion network is being converted, or waits for its turn to be.
    Converting,
    /// The disk that the images go to is full.
    Disk,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(job) => f.pad(&format!("after {job}")),
            Self::Operator => f.pad("operator"),
            Self::Engine => f.pad("engine"),
            Self::Device => f.pad("device"),
            Self::Converting => f.pad("converting"),
            Self::Disk => f.pad("disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: &[Step] = &[
        Step::Start,
        Step::Hold,
        Step::Release,
        Step::Pause,
        Step::Resume,
        Step::Interrupt,
        Step::Finish,
        Step::Fail,
        Step::Cancel,
        Step::Retry,
    ];

    #[test]
    fn only_these_moves_are_legal() {
        let legal: usize = JobState::ALL.iter().map(|s| STEPS.iter().filter(|m| s.after(**m).is_ok()).count()).sum();
        assert_eq!(legal, 18, "a move more or less needs a look at the drawing above");
        assert_eq!(JobState::Done.after(Step::Retry).map_err(|e| e.to_string()), Err("a done job cannot be retried".to_owned()));
    }

    #[test]
    fn names_read_back() {
        for state in JobState::ALL {
            assert_eq!(state.name().parse(), Ok(*state));
            assert_eq!(serde_json::to_string(state).unwrap(), format!("\"{state}\""));
        }
    }

    proptest! {
        /// Whatever happens to it, a job that is done stays done, and no other job becomes done without running.
        #[test]
        fn done_is_reached_by_running_only_and_never_left(moves in prop::collection::vec(prop::sample::select(STEPS), 0..60)) {
            let mut state = JobState::Queued;
            for step in moves {
                if let Ok(next) = state.after(step) {
                    prop_assert!(state != JobState::Done);
                    prop_assert!(next != JobState::Done || state == JobState::Running);
                    state = next;
                }
            }
        }
    }
}
