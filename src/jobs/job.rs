//! A job as clients see it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{JobState, Progress, WaitReason};
use crate::devices::Labelled;
use crate::placement::{Part, Predicted, Share};
use crate::units::{Bytes, JobId, Seed, Timestamp};
use crate::workflow::{JobSpec, Kind};

/// What is of late.
const LATELY_MS: i64 = 86_400_000;

/// A picture that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Where it is.
    pub path: PathBuf,
    /// The seed that makes it again.
    pub seed: Seed,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Where the time of a run went, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Waiting in the queue.
    pub queued: f64,
    /// Bringing weights to the compute device, also those that were brought when a later stage first asked for them; no
    /// other figure has that time.
    pub load: f64,
    /// Encoding text and the picture to start from.
    pub encode: f64,
    /// All steps.
    pub sample: f64,
    /// Decoding latents.
    pub decode: f64,
    /// From the engine's start on it to the last picture saved.
    pub total: f64,
    /// Each step.
    pub per_step: Vec<f64>,
}

/// What was asked of each device and what was measured there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Weights that the plan puts on each device.
    pub asked: Vec<Share>,
    /// Weights that were there during the run.
    pub measured: Vec<Share>,
    /// Weights copied to the compute device in each step.
    pub streamed_bytes_per_step: Bytes,
    /// The same by the way that they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streamed_over: Vec<StreamedOver>,
    /// Memory of the compute device that they passed through.
    #[serde(default)]
    pub staging: Bytes,
    /// How long computing waited for them, in the median step.
    #[serde(default)]
    pub stalled_s_per_step: f64,
    /// What was expected of a step before the run, where blocks were placed.
    #[serde(default)]
    pub predicted: Option<Predicted>,
    /// The same of each part alone.
    #[serde(default)]
    pub parts: Vec<PartPlacement>,
}

/// What came over one link in the median step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamedOver {
    /// `disk`, `page cache`, or the donor.
    pub link: String,
    /// Bytes, as they are stored.
    pub bytes_per_step: Bytes,
    /// Seconds in which something was coming: none where the page cache had it in the map already.
    pub busy_s_per_step: f64,
}

/// What was asked for a part and what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlacement {
    /// Which part.
    pub part: Part,
    /// Its weights that the plan puts on each device.
    pub asked: Vec<Share>,
    /// Its weights that were there during the run.
    pub measured: Vec<Share>,
    /// Its weights copied to the compute device in the whole run.
    pub streamed_bytes: Bytes,
    /// Memory of the compute device that they passed through.
    pub staging: Bytes,
}

impl PartPlacement {
    /// Returns whether some of it lives elsewhere than on the device that computes.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.asked.iter().filter(|share| share.bytes > Bytes::ZERO).count() > 1
    }

    /// Returns in words where it was.
    #[must_use]
    pub fn told(&self) -> String {
        let shares: Vec<String> = self.measured.iter().map(|share| format!("{} on {}", share.bytes, Labelled(share.device))).collect();
        format!("{}: {}; {} streamed", self.part, shares.join(", "), self.streamed_bytes)
    }
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What went wrong, and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The last lines that the engine wrote, when it died.
    pub log: Vec<String>,
}

/// A job, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Why it waits.
    pub reason: Option<WaitReason>,
    /// Whether the operator asked to cancel it and the engine has not stopped yet.
    pub cancelling: bool,
    /// What will be done, or was.
    pub spec: JobSpec,
    /// How far it is, while an engine holds it.
    pub progress: Option<Progress>,
    /// How often an engine has begun it.
    pub attempts: u32,
    /// When it was submitted.
    pub created: Timestamp,
    /// When an engine last began it.
    pub started: Option<Timestamp>,
    /// When it reached its final state.
    pub finished: Option<Timestamp>,
    /// Its pictures.
    pub images: Vec<ImageRecord>,
    /// Where its time went.
    pub timing: Option<Timing>,
    /// Where its weights were.
    pub placement: Option<Placement>,
    /// The precision it was computed in.
    pub precision: Option<String>,
    /// What the operator should know about it.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

impl JobView {
    /// Returns whether it ended since then and failed, or left something that its operator should know.
    #[must_use]
    pub fn went_wrong_since(&self, since: Timestamp) -> bool {
        let is_wrong = self.state == JobState::Failed || self.state == JobState::Done && !self.warnings.is_empty();
        is_wrong && self.finished.is_some_and(|at| at > since)
    }
}

/// Returns the time after which what ended is of late: a day ago, so that whoever looks once a day sees it.
#[must_use]
pub fn lately(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(LATELY_MS))
}

/// A job in a line, for long lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its number.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Jobs of higher priority run first.
    pub priority: i32,
    /// The model set's name.
    pub model: String,
    /// The prompt's beginning.
    pub prompt: String,
    /// Who asked.
    pub owner: String,
    /// When it was submitted.
    pub created: Timestamp,
    /// When it reached its final state.
    pub finished: Option<Timestamp>,
}
