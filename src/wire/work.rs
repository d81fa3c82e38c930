//! Between the daemon and an engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::status::PartView;
use crate::devices::SimulatedGpu;
use crate::jobs::{ImageRecord, Phase, Placement, Timing};
use crate::placement::{Finding, Floors, Learned, OffloadAsk, OffloadPlan, Share, Walk};
use crate::units::{Bytes, DeviceId, JobId, RunId};
use crate::weights::Precision;
use crate::workflow::{JobSpec, Kind, Refusal, SetId};

/// What the daemon tells an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Comes first: what the engine is for. Answer: [`Report::Ready`], or an exit.
    Configure(Configure),
    /// Run a job. Answers: [`Report::Started`], then others, then [`Report::Finished`] or [`Report::Failed`].
    Run(Box<RunOrder>),
    /// Measure the machine. Answers: [`Report::Found`] for each finding, then [`Report::Calibrated`].
    Calibrate(Box<CalibrateOrder>),
    /// Stop a run between two blocks. Its [`Report::Failed`] is then of kind `interrupted`.
    Cancel(RunId),
    /// Wait between two steps. Answer: [`Report::Paused`].
    Pause(RunId),
    /// Go on. Answer: [`Report::Resumed`].
    Resume(RunId),
    /// Let the weights live elsewhere from the next step border on. Answer, unless the run ends before:
    /// [`Report::Rebudgeted`].
    Rebudget {
        /// Which run.
        run: RunId,
        /// What is to be offloaded.
        ask: Box<OffloadAsk>,
    },
    /// Load the parts of a job, whose number is below zero, and make no picture. Answer: [`Report::Loaded`].
    Load(Box<RunOrder>),
    /// Have a set leave once no run uses it, between two steps at the latest. Answer: [`Report::Unloaded`].
    Unload(SetId),
    /// Let a set stay whoever asks for its memory; it holds for one that is loaded later, too.
    Pin(SetId),
    /// Let a set leave again.
    Unpin(SetId),
    /// Say that you live. Answer: [`Report::Pong`], also while a run computes.
    Ping(u64),
    /// End.
    Shutdown,
}

/// What an engine is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configure {
    /// Its compute device.
    pub device: DeviceId,
    /// Processor threads to compute with; `None` is one per core.
    pub threads: Option<u32>,
    /// The least level of log lines to write: `info`, `debug`, …
    pub log: String,
    /// All simulated GPUs, where its compute device is one of them.
    pub simulated: Vec<SimulatedGpu>,
    /// Where the engines of simulated GPUs count what they take of them; nowhere where there is only one.
    pub tally: Option<PathBuf>,
    /// Where it keeps what text encoders made of texts.
    pub texts: KeptTexts,
    /// How much of each device stays free, where the operator has said it.
    pub floors: Floors,
}

/// Where an engine keeps what text encoders made of texts, for the next run with the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTexts {
    /// The folder; other engines keep there, too.
    pub folder: PathBuf,
    /// The most bytes that it may take; with 0 nothing is kept.
    pub limit: Bytes,
}

impl KeptTexts {
    /// Returns that nothing is kept.
    #[must_use]
    pub fn none() -> Self {
        Self { folder: PathBuf::new(), limit: Bytes::ZERO }
    }
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOrder {
    /// The attempt.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// What to do.
    pub spec: JobSpec,
    /// Where to write each image of the batch; the daemon gives the files their final names.
    pub targets: Vec<PathBuf>,
    /// What engines of this name have found out about this machine before.
    pub known: Vec<Learned>,
}

/// The number under which a calibration is stopped; a ledger's runs begin at 1.
pub const CALIBRATION: RunId = RunId(0);

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrateOrder {
    /// What to compute in.
    pub precision: Precision,
    /// The files of a diffusion network whose steps are to be measured; none for blocks of each kind alone.
    pub network: Vec<PathBuf>,
    /// A folder on the disk that is to be measured where the network's files are too small.
    pub scratch: PathBuf,
}

/// What an engine tells the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The device is there and jobs can be run.
    Ready {
        /// What the device and the library are called.
        about: String,
    },
    /// The run has begun; only now it counts as one.
    Started(RunId),
    /// A new phase has begun.
    Phase {
        /// Which run.
        run: RunId,
        /// What is being done now.
        phase: Phase,
    },
    /// A step is finished.
    Step {
        /// Which run.
        run: RunId,
        /// Steps finished.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// What this one took.
        seconds: f64,
    },
    /// What the first image looks like so far.
    Preview {
        /// Which run.
        run: RunId,
        /// After this many steps.
        step: u32,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Rows of red, green and blue bytes, in base64.
        rgb: String,
    },
    /// The run waits between two steps.
    Paused(RunId),
    /// The run goes on.
    Resumed(RunId),
    /// What came of an [`Order::Rebudget`]; one for each, in their order. The run goes on either way.
    Rebudgeted(Box<Rebudgeted>),
    /// Something about a run that its operator should hear of at once.
    Notice {
        /// Which run.
        run: RunId,
        /// `info` or `warn`.
        level: String,
        /// What.
        text: String,
    },
    /// All images are written to their targets and flushed to disk.
    Finished(Box<Finished>),
    /// The run ended without images. The engine lives on unless `fatal`.
    Failed(Box<FailedRun>),
    /// A calibration has found something.
    Found(Finding),
    /// A calibration is at its end, or has failed; only the first kind counts.
    Calibrated(Option<Box<FailedRun>>),
    /// What came of an [`Order::Load`].
    Loaded {
        /// Its number.
        run: RunId,
        /// Why it is not loaded, if it is not.
        failure: Option<Box<FailedRun>>,
    },
    /// What came of an [`Order::Unload`]: it has left, or was not there, or stays for this reason.
    Unloaded {
        /// Which set.
        set: SetId,
        /// Why it stays.
        refusal: Option<Refusal>,
    },
    /// What the engine holds on its device has changed.
    Memory(Memory),
    /// The answer to [`Order::Ping`].
    Pong(u64),
}

/// What came of an order to let weights live elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebudgeted {
    /// Which run.
    pub run: RunId,
    /// What was asked.
    pub ask: OffloadAsk,
    /// Where the blocks live now, or why they live where they did.
    pub outcome: Rebudget,
}

/// How an order to let weights live elsewhere ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rebudget {
    /// They live there.
    Moved(Moved),
    /// They live where they did.
    Refused(Refusal),
}

/// Weights that live elsewhere now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The home of each block.
    pub plan: OffloadPlan,
    /// Bytes on each device, the one that computes first.
    pub shares: Vec<Share>,
    /// Seconds that the run stood still for it.
    pub seconds: f64,
}

/// A run that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Which run.
    pub run: RunId,
    /// The images, at their targets.
    pub images: Vec<ImageRecord>,
    /// Where the time went.
    pub timing: Timing,
    /// Where the weights were.
    pub placement: Placement,
    /// The precision it was computed in.
    pub precision: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What this run has shown of the machine, in the precision it was computed in.
    pub learned: Vec<Finding>,
    /// What each walk through the network was.
    pub walk: Option<Walk>,
}

/// A run that did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRun {
    /// Which run.
    pub run: RunId,
    /// What kind of failure it is.
    pub kind: Kind,
    /// What went wrong, and in which block.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the engine ends because of it.
    pub fatal: bool,
}

/// What an engine holds on its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The loaded model sets, the one that was used last first.
    pub sets: Vec<LoadedSet>,
    /// Bytes beyond weights: activations, what blocks pass through, other buffers, the library's cache. `None` where it cannot be told.
    pub activations: Option<Bytes>,
    /// What it has taken of each simulated GPU, by its ledger.
    #[serde(default)]
    pub simulated: Vec<Share>,
}

/// A model set that an engine holds. Its parts may be those of others, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedSet {
    /// What tells it from others.
    pub id: SetId,
    /// What it is called.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Its parts.
    pub parts: Vec<PartView>,
    /// Where the blocks of its diffusion network live, once that is loaded.
    pub placed: Option<Box<Placed>>,
}

/// Where the blocks of a diffusion network live, and for which ask. The next run that asks the same of the same files
/// finds them there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What they are computed in.
    pub precision: Precision,
    /// What was asked.
    pub ask: OffloadAsk,
    /// The home of each block.
    pub plan: OffloadPlan,
    /// The memory that those pass through which live elsewhere, once it is taken.
    #[serde(default)]
    pub staging: Option<Bytes>,
}
