//! Between a client and the daemon.
//!
//! A request is `{"id":7,"request":{"show":41}}`; its answer is `{"reply":{"id":7,"reply":{…}}}` or
//! `{"error":{"id":7,"error":{…}}}`. Events have no id: `{"event":{"seq":12,"change":{…}}}`. A client
//! that sees a gap in `seq` asks for the whole again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cache::{CachedView, CleanAsk, GoneView, VerifiedView};
use super::conversion::{ConversionId, ConversionView, ConvertAsk, ConvertedView};
use super::plan::{PlanAsk, PlanView};
use super::signal::SignalAsk;
use super::status::{EngineView, Notice, QueueView, SetView, Status};
use super::tune::TuneView;
use crate::devices::{DeviceReading, HostReading};
use crate::families::Description;
use crate::jobs::{JobRow, JobState, JobView, Move, Progress};
use crate::placement::{Basis, Finding, OffloadAsk};
use crate::quant::advice::Suggestion;
use crate::units::{DeviceId, JobId, Timestamp};
use crate::weights::Precision;
use crate::workflow::{JobDraft, ModelEntry, Refusal};

/// A request and the number its answer will carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Chosen by the client.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// What a client asks of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Everything at this moment. Answer: [`Reply::Status`].
    Status,
    /// Devices only, freshly read. Answer: [`Reply::Devices`].
    Devices,
    /// Events from now on, a snapshot first. Answer: [`Reply::Done`].
    Subscribe(Topics),
    /// A new job. Answer, once it is on disk: [`Reply::Accepted`].
    Submit(Box<JobDraft>),
    /// What would become of a job's weights. Answer: [`Reply::Plan`].
    Plan(Box<PlanAsk>),
    /// Measures this box, on an engine that has nothing else to do. Answer, once all of it is on disk:
    /// [`Reply::Calibrated`]. Who leaves before has it stopped.
    Calibrate(CalibrateAsk),
    /// What plans of a job are worked out from; what it asks to be offloaded does not matter. Answer: [`Reply::Tune`].
    Tune(Box<PlanAsk>),
    /// Which precisions of a model suit this box. Answer: [`Reply::Advice`].
    Advise(String),
    /// Stores weights otherwise. Answer, once they lie there: [`Reply::Converted`]. Who leaves before has it stopped, unless a
    /// job needs it.
    Convert(ConvertAsk),
    /// Keeps conversions, or one, from going on: what is done is kept on the disk. It holds until the daemon ends. Answer:
    /// [`Reply::Done`].
    PauseConversions {
        /// Which; `None` is all, and those to come.
        conversion: Option<ConversionId>,
    },
    /// Lets conversions, or one, go on. Answer: [`Reply::Done`].
    ResumeConversions {
        /// Which; `None` is all.
        conversion: Option<ConversionId>,
    },
    /// Gives a conversion up: who waits for it is told so, and its jobs fail. Answer: [`Reply::Done`].
    CancelConversion(ConversionId),
    /// The conversions that there are. Answer: [`Reply::Cached`].
    Cache,
    /// Removes conversions, or says which would go. What is in use stays. Answer: [`Reply::Cleaned`].
    CleanCache(CleanAsk),
    /// Reads a conversion and compares every byte with what was written. Answer, once all of it is read: [`Reply::Verified`].
    VerifyCached(PathBuf),
    /// Keeps a conversion whatever rule cleans, or lets it go again. Answer: [`Reply::Done`].
    KeepCached {
        /// The file.
        path: PathBuf,
        /// Whether it is kept.
        kept: bool,
    },
    /// Measures the traffic on this device's bus too, as long as this client stays and names no other. Answer: [`Reply::Done`].
    Watch(Option<DeviceId>),
    /// Takes a job back if it still waits: another has taken its place. Answer: [`Reply::Changed`], of nothing where it has begun.
    Withdraw(JobId),
    /// Sends a signal to a process that holds memory of a GPU. Answer: [`Reply::Done`].
    Signal(SignalAsk),
    /// A page of jobs. Answer: [`Reply::Rows`].
    List {
        /// Only jobs in these states; none means all.
        states: Vec<JobState>,
        /// Where the page before ended.
        after: Option<Cursor>,
        /// The most rows to send.
        limit: u32,
    },
    /// One job, whole. Answer: [`Reply::Job`].
    Show(JobId),
    /// Takes jobs back. Answer: [`Reply::Changed`].
    Cancel(Vec<JobId>),
    /// Tries finished jobs again. Answer: [`Reply::Changed`].
    Retry(Vec<JobId>),
    /// Changes a waiting job's place. Answer: [`Reply::Changed`].
    Move {
        /// Which job.
        job: JobId,
        /// Where to.
        to: Move,
    },
    /// Keeps the queue, or one job, from going on. Answer: [`Reply::Changed`].
    Pause {
        /// Which job; `None` is the whole queue.
        job: Option<JobId>,
    },
    /// Lets the queue, or one job, go on. Answer: [`Reply::Changed`].
    Resume {
        /// Which job; `None` is the whole queue.
        job: Option<JobId>,
    },
    /// Gives a job's weights another budget: a waiting job's on the ledger, a running job's at its next step border.
    /// Answer, once the blocks live where they shall: [`Reply::Changed`].
    Rebudget {
        /// Which job.
        job: JobId,
        /// What is to be offloaded from now on.
        ask: OffloadAsk,
    },
    /// Loads the parts of a job and makes no picture. Answer, once they are there: [`Reply::Sets`].
    LoadSet(Box<JobDraft>),
    /// Has a loaded set leave that no job uses. Sets are named as [`SetView`] names them: by what they are called where only one
    /// is called so, or by their number; with `@` and a device where several devices hold it. Answer: [`Reply::Done`].
    UnloadSet(String),
    /// Has a loaded set stay whoever asks for its memory. Answer: [`Reply::Sets`].
    PinSet(String),
    /// Lets a set leave again. Answer: [`Reply::Sets`].
    UnpinSet(String),
    /// Says how long a set stays that no job uses. Answer: [`Reply::Sets`].
    KeepSet {
        /// Which.
        set: String,
        /// Seconds; `None` is for as long as nobody asks for its memory.
        for_s: Option<f64>,
    },
    /// Forgets finished jobs. Answer: [`Reply::Cleared`].
    Clear {
        /// Only those in these states; none means all final ones.
        states: Vec<JobState>,
    },
    /// The models in the model folders. Answer: [`Reply::Models`].
    Models,
    /// What a file or folder holds. Answer: [`Reply::Description`].
    Inspect(String),
    /// The last lines of the log. Answer: [`Reply::Log`].
    Log {
        /// The most lines to send.
        limit: u32,
    },
    /// Ends the daemon in order. Answer, before it goes: [`Reply::Done`].
    Stop,
}

/// What is to be measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrateAsk {
    /// A model whose steps are to be measured too.
    pub model: Option<String>,
    /// The device that computes.
    pub compute_device: Option<DeviceId>,
    /// What to compute in.
    pub precision: Option<Precision>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationView {
    /// What it holds for.
    pub basis: Basis,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    /// One job only; devices, sets and the queue are then left out.
    pub job: Option<JobId>,
    /// Previews of running images.
    pub previews: bool,
    /// Lines of the log.
    pub log: bool,
}

/// Where a page of a list ended; opaque.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// The daemon's answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// Everything.
    Status(Box<Status>),
    /// Devices and host.
    Devices {
        /// Every device.
        devices: Vec<DeviceReading>,
        /// The host.
        host: Box<HostReading>,
    },
    /// The job is on disk.
    Accepted(JobId),
    /// What would become of a job's weights.
    Plan(Box<PlanView>),
    /// What was measured.
    Calibrated(Box<CalibrationView>),
    /// What plans of a job are worked out from.
    Tune(Box<TuneView>),
    /// What suits this box, for one device after another, the best first.
    Advice(Vec<Suggestion>),
    /// A conversion is there.
    Converted(Box<ConvertedView>),
    /// The conversions that there are, by path.
    Cached(Vec<CachedView>),
    /// What went, or would go.
    Cleaned(Vec<GoneView>),
    /// What reading a conversion has shown.
    Verified(VerifiedView),
    /// A page of jobs.
    Rows {
        /// Whether the queue is paused.
        paused: bool,
        /// The jobs.
        rows: Vec<JobRow>,
        /// Where the next page starts, if there is one.
        next: Option<Cursor>,
    },
    /// One job.
    Job(Box<JobView>),
    /// These jobs were changed; none for the queue as a whole.
    Changed(Vec<JobId>),
    /// These sets, as they are now.
    Sets(Vec<SetView>),
    /// So many jobs were forgotten.
    Cleared(u64),
    /// The models there are.
    Models(Vec<ModelEntry>),
    /// What a file or folder holds, and its absolute path.
    Description {
        /// Where it is.
        path: String,
        /// What it holds.
        description: Box<Description>,
    },
    /// Lines of the log, oldest first.
    Log(Vec<LogLine>),
}

/// Everything that a daemon sends after its hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to a request.
    Reply {
        /// The request's number.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// A refusal. Without a number it is about a frame that could not be read.
    Error {
        /// The request's number.
        id: Option<u64>,
        /// What is wrong.
        error: Refusal,
    },
    /// Something happened.
    Event(Box<Event>),
}

/// Something that happened, numbered per subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// One more than the event's before it.
    pub seq: u64,
    /// What happened.
    pub change: Change,
}

/// A change to what a subscriber knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Everything, at the start.
    Snapshot(Box<Status>),
    /// A job is new or changed.
    Job(Box<JobView>),
    /// Jobs were forgotten.
    Gone(Vec<JobId>),
    /// A running job is further. May be left out where a later one follows.
    Progress {
        /// Which job.
        job: JobId,
        /// How far.
        progress: Progress,
    },
    /// What a running image looks like so far. May be left out where a later one follows.
    Preview(Preview),
    /// New readings.
    Devices {
        /// Every device.
        devices: Vec<DeviceReading>,
        /// The host.
        host: Box<HostReading>,
    },
    /// Counts of jobs by state, and whether the queue is paused.
    Queue {
        /// Whether the operator keeps new jobs from starting.
        paused: bool,
        /// See [`QueueView`]; without jobs.
        counts: Counts,
    },
    /// The loaded sets.
    Sets(Vec<SetView>),
    /// The engines.
    Engines(Vec<EngineView>),
    /// The conversions that are not there yet.
    Conversions(Vec<ConversionView>),
    /// Something to hear of.
    Notice(Notice),
    /// A line of the log.
    Log(LogLine),
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Waiting.
    pub queued: u64,
    /// Held by their operator.
    pub held: u64,
    /// Held by an engine.
    pub running: u64,
    /// Done.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Taken back.
    pub cancelled: u64,
}

impl From<&QueueView> for Counts {
    fn from(queue: &QueueView) -> Self {
        let QueueView { queued, held, running, succeeded, failed, cancelled, .. } = *queue;
        Self { queued, held, running, succeeded, failed, cancelled }
    }
}

/// A small picture of what a run looks like so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Which job.
    pub job: JobId,
    /// After this many steps.
    pub step: u32,
    /// Pixels across; one per latent cell.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Rows of red, green and blue bytes, in base64.
    pub rgb: String,
}

/// A line that the daemon or an engine wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// One more than the line's before it, from the daemon's first on.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// `daemon`, or the engine's device.
    pub source: String,
    /// What.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_like_the_contract() {
        let check = |request: Request, expected: serde_json::Value| {
            let asked = Asked { id: 7, request };
            let json = serde_json::to_value(&asked).unwrap();
            assert_eq!(json, serde_json::json!({"id": 7, "request": expected}));
            assert_eq!(serde_json::from_value::<Asked>(json).unwrap(), asked);
        };
        check(Request::Status, serde_json::json!("status"));
        check(Request::Show(JobId(41)), serde_json::json!({"show": 41}));
        check(Request::Move { job: JobId(4), to: Move::Before(JobId(2)) }, serde_json::json!({"move": {"job": 4, "to": {"before": 2}}}));
        check(Request::Pause { job: None }, serde_json::json!({"pause": {"job": null}}));
    }

    #[test]
    fn unknown_commands_and_wrong_types_are_told_apart_from_good_ones() {
        for bad in [r#"{"id":1,"request":"explode"}"#, r#"{"id":1,"request":{"show":"x"}}"#, r#"{"id":1}"#, "[]"] {
            assert!(serde_json::from_str::<Asked>(bad).is_err(), "{bad}");
        }
    }
}
