//! Conversions on their way, and what came of them. Fields may be added, never renamed.
//!
//! The daemon hands a [`ConvertOrder`] to a child of its own, which answers with [`ConvertReport`]s and ends.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::quant::precision::Target;
use crate::units::{Bytes, JobId};
use crate::workflow::{Refusal, Wish};

/// What a client asks to be converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvertAsk {
    /// A path, or a name from the model folders.
    pub source: String,
    /// Which part of it: a role, or `whole`; the usual one when left out.
    pub part: Option<String>,
    /// What it becomes.
    pub to: Target,
}

/// What a child of the daemon is to convert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvertOrder {
    /// What, and to what.
    pub wish: Wish,
    /// The model folders, in one of which the result will lie.
    pub models: Vec<PathBuf>,
    /// Threads that convert; `None` is one per processor.
    pub threads: Option<u32>,
    /// How much of a disk is left free.
    pub floor: Bytes,
    /// Where it may be fetched from instead; who may do so, the child's environment says.
    pub backup: Option<String>,
}

/// What such a child says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvertReport {
    /// Another process makes the same; it is waited for.
    Waiting(PathBuf),
    /// So much of the source is done.
    Progress {
        /// Bytes done.
        done: Bytes,
        /// All of them.
        bytes: Bytes,
    },
    /// It is there.
    Converted(Box<ConvertedView>),
    /// It will not be.
    Failed(Refusal),
}

/// How a conversion ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvertStatus {
    /// It was made.
    Converted,
    /// It came from the back-up.
    Restored,
    /// It was there.
    Cached,
    /// The source is that already.
    Skipped,
}

/// A conversion that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvertedView {
    /// What it was made of.
    pub source: PathBuf,
    /// Where it lies; the source itself where nothing was to do.
    pub output: PathBuf,
    /// What the source is.
    pub from: String,
    /// What the result is.
    pub to: String,
    /// How it came to be there.
    pub status: ConvertStatus,
    /// What is to be known about that.
    pub reason: Option<String>,
    /// The size of the source.
    pub source_bytes: Bytes,
    /// The size of the result.
    pub output_bytes: Bytes,
    /// What this took.
    pub seconds: f64,
    /// Tensors in it; unknown where nothing was to do.
    pub tensors: Option<u64>,
    /// What storing the weights so cost; nothing where nothing was to do.
    pub error: Option<ConvertErrors>,
}

/// What storing weights otherwise cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConvertErrors {
    /// The largest relative error of a tensor.
    pub rel_l2_max: f64,
    /// The relative error of all weights together.
    pub rel_l2_mean: f64,
    /// Values beyond the range of the type.
    pub clipped: u64,
    /// Values that were no numbers.
    pub not_a_number: u64,
    /// The tensors that lost most.
    pub worst: Vec<WorstTensor>,
}

/// A tensor that lost much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstTensor {
    /// Which.
    pub tensor: String,
    /// The norm of the difference by the norm of the source.
    pub rel_l2: f64,
}

/// The number of a conversion on its way; a daemon gives each one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversionId(pub u64);

impl fmt::Display for ConversionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for ConversionId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("`{text}` is no number of a conversion; `perilune conversions list` shows them"))
    }
}

/// A conversion that is not there yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversionView {
    /// Its number.
    pub id: ConversionId,
    /// What is converted.
    pub source: PathBuf,
    /// Which part of it.
    pub part: Option<String>,
    /// What it becomes.
    pub to: Target,
    /// Whether it is being made; else it waits for its turn.
    pub running: bool,
    /// Whether its operator keeps it from going on.
    pub paused: bool,
    /// Bytes done.
    pub done: Bytes,
    /// All of them, once they are known.
    pub bytes: Bytes,
    /// Seconds since it was begun.
    pub seconds: f64,
    /// Jobs that wait for it.
    pub jobs: Vec<JobId>,
}

impl ConversionView {
    /// Returns the finished share, 0…1.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.done.get().min(self.bytes.get()) as f64 / self.bytes.get().max(1) as f64
    }

    /// Returns the seconds that it will still take at the pace so far, once there is one.
    #[must_use]
    pub fn left_s(&self) -> Option<f64> {
        let done = self.ratio();
        (self.running && done >= 0.01).then(|| self.seconds * (1.0 - done) / done)
    }
}
