//! Everything an operator sees, in one value. Fields may be added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::conversion::ConversionView;
use crate::devices::{DeviceReading, HostReading};
use crate::families::Role;
use crate::jobs::JobView;
use crate::units::{Bytes, DeviceId, JobId, Timestamp};
use crate::workflow::SetId;

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonView {
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: f64,
}

/// One part of a loaded model set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    /// What it does.
    pub role: Role,
    /// Which of its engine's copies it is: the same in two sets that share it, and another one once it was loaded again.
    pub copy: u64,
    /// What it is held in: the storage where weights stay as they are stored, what is computed in where they are plain numbers.
    pub precision: String,
    /// Bytes that its plan puts on the device.
    pub planned: Bytes,
    /// Bytes that are there.
    pub bytes: Bytes,
    /// Those among them that lie in the page cache: readings count them as free, and nothing becomes free without them.
    pub cached: Bytes,
    /// Where.
    pub device: DeviceId,
}

/// A model set that an engine holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetView {
    /// What tells it from others of its name.
    pub id: SetId,
    /// What it is called.
    pub name: String,
    /// Its family.
    pub family: String,
    /// The device that computes with it.
    pub device: DeviceId,
    /// Its parts.
    pub components: Vec<PartView>,
    /// The job that uses it now.
    pub used_by: Option<JobId>,
    /// When a job last used it, or when it was loaded.
    pub last_used: Option<Timestamp>,
    /// Other sets of the same device that use one of its parts, by the part's copy.
    pub shared: Vec<SharedPart>,
    /// Bytes of its parts, wherever they are.
    pub bytes: Bytes,
    /// Those among them that no other set uses: what becomes free without it.
    pub alone: Bytes,
    /// Whether it stays whoever asks for its memory.
    pub pinned: bool,
    /// For how many seconds without a job it stays, where somebody said so.
    pub keep_s: Option<f64>,
    /// When it leaves unless a job uses it before.
    pub leaves: Option<Timestamp>,
}

/// A part that several sets use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPart {
    /// Which.
    pub copy: u64,
    /// What it does.
    pub role: Role,
    /// The other sets.
    pub with: Vec<SetId>,
}

/// What an engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineState {
    /// Was started and has not said hello yet.
    Starting,
    /// Waits for a job.
    Ready,
    /// Runs a job.
    Busy,
    /// Died and will be started again after a pause.
    Backoff,
    /// Cannot be started.
    Broken,
}

/// One engine process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineView {
    /// Its compute device.
    pub device: DeviceId,
    /// What it is doing.
    pub state: EngineState,
    /// Its process id, while it lives.
    pub pid: Option<u32>,
    /// What it calls its device and library, once it has said so.
    pub about: Option<String>,
    /// Seconds until it is started again.
    pub retry_in_s: Option<f64>,
    /// How it last ended.
    pub last_exit: Option<String>,
}

/// Converted weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheView {
    /// Files.
    pub count: u64,
    /// Their size.
    pub bytes: Bytes,
    /// The size of each precision.
    pub by_precision: BTreeMap<String, Bytes>,
}

/// The queue: counts of all jobs, and the jobs that matter now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Whether the operator keeps new jobs from starting.
    pub paused: bool,
    /// Waiting jobs, held ones not counted.
    pub queued: u64,
    /// Jobs that their operator holds.
    pub held: u64,
    /// Jobs that an engine holds.
    pub running: u64,
    /// Jobs whose pictures are saved.
    pub succeeded: u64,
    /// Jobs that were tried and failed.
    pub failed: u64,
    /// Jobs that were taken back.
    pub cancelled: u64,
    /// Running jobs, then the next waiting ones, then the last finished ones and those before them that went wrong within a day;
    /// not all, where there are many.
    pub jobs: Vec<JobView>,
}

/// Something that an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When.
    pub time: Timestamp,
    /// `info`, `warn`, `fail` or `crit`.
    pub level: String,
    /// What.
    pub text: String,
    /// The job it is about.
    pub job: Option<JobId>,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// When.
    pub time: Timestamp,
    /// The daemon itself.
    pub daemon: DaemonView,
    /// Every device.
    pub devices: Vec<DeviceReading>,
    /// The host.
    pub host: HostReading,
    /// Loaded model sets.
    pub sets: Vec<SetView>,
    /// Engines.
    pub engines: Vec<EngineView>,
    /// Converted weights.
    pub cache: CacheView,
    /// Conversions that are not there yet.
    pub conversions: Vec<ConversionView>,
    /// The queue.
    pub queue: QueueView,
    /// The last things to hear of, oldest first.
    pub notices: Vec<Notice>,
}
