//! One attempt at a job, from the moment its engine was told until its pictures have names.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::daemon::input::Asker;
use crate::jobs::Progress;
use crate::jobs::progress::median;
use crate::ledger::Planned;
use crate::units::{DeviceId, JobId, RunId, Timestamp};
use crate::workflow::SetId;

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// The engine was told.
    Ordered,
    /// The engine has begun.
    Begun,
    /// The pictures are on disk; the ledger is being told.
    Recording(Vec<Planned>),
    /// The ledger knows; the pictures are being given their names.
    Naming,
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// The device of its engine.
    pub device: DeviceId,
    /// How far it is.
    pub stage: Stage,
    /// What the model set is called.
    pub model: String,
    /// What tells it from others.
    pub set: SetId,
    /// Where the final names will lie.
    pub output: PathBuf,
    /// Where the engine writes its pictures.
    pub targets: Vec<PathBuf>,
    /// When the job was submitted.
    pub created: Timestamp,
    /// When the engine was told.
    pub ordered: Timestamp,
    /// How far the engine is.
    pub progress: Progress,
    /// Seconds of the finished steps.
    pub step_seconds: Vec<f64>,
    /// Those who have asked for another budget, and wait for the engine to say what came of it.
    pub rebudgets: VecDeque<Asker>,
    /// When the engine is killed, if it has not stopped by then.
    pub stop_by: Option<Timestamp>,
}

impl Attempt {
    /// Returns whether its engine still works on it.
    #[must_use]
    pub fn is_with_engine(&self) -> bool {
        match self.stage {
            Stage::Ordered | Stage::Begun => true,
            Stage::Recording(_) | Stage::Naming => false,
        }
    }

    /// Notes a finished step.
    pub fn stepped(&mut self, step: u32, steps: u32, seconds: f64) {
        self.step_seconds.push(seconds);
        self.progress = Progress { step, steps, step_s: median(&self.step_seconds), ..self.progress };
    }
}
