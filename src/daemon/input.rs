//! Everything that can happen to the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use crate::families::Component;
use crate::ledger::{Answer, LedgerError};
use crate::telemetry::Frame;
use crate::units::{Bytes, DeviceId, RunId, SessionId};
use crate::wire::status::CacheView;
use crate::wire::{ConvertedView, LogLine, Reply, Report, Request};
use crate::workflow::{JobSpec, Refusal, Wish};

/// Ties the end of something that takes time to its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A client's request, to which the answer must find its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Which connection.
    pub session: SessionId,
    /// The request's number there.
    pub id: u64,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A client asks.
    Asked(Asker, Request),
    /// A client is gone.
    Left(SessionId),
    /// What a draft asks for was found out.
    Prepared(Ticket, Result<Box<JobSpec>, Refusal>),
    /// What a client looked for was found, or not.
    LookedUp(Asker, Result<Reply, Refusal>),
    /// The ledger has done something, or refused it.
    Answered(Ticket, Result<Answer, LedgerError>),
    /// The ledger cannot write just now, and tries again.
    Delayed(Ticket, Refusal),
    /// Whether the ledger can write.
    Trouble(Option<String>),
    /// An engine was heard of.
    Engine {
        /// Its device.
        device: DeviceId,
        /// Which of its processes.
        generation: u64,
        /// What.
        heard: Heard,
    },
    /// What a client asks to be converted was found, or not.
    Located(Asker, Result<Wish, Refusal>),
    /// A conversion was heard of.
    Conversion(u64, ConversionHeard),
    /// So many conversions there are.
    Counted(CacheView),
    /// The pictures of a run have their names, or one cannot get its.
    Named(RunId, Result<Vec<PathBuf>, Refusal>),
    /// New readings.
    Readings(Arc<Frame>),
    /// Readings that were asked for.
    Read(Ticket, Arc<Frame>),
    /// A line was logged.
    Logged(LogLine),
    /// Time has passed.
    Tick,
    /// The system, or the terminal, asks the daemon to end.
    Stop,
    /// It asks again.
    Kill,
}

/// What is heard of an engine.
#[derive(Debug)]
pub enum Heard {
    /// Its process is there.
    Born(u32),
    /// It says something.
    Said(Report),
    /// It is gone.
    Died(Exit),
    /// It cannot be started, and trying again soon will not help.
    Broken(Refusal),
}

/// What is heard of a conversion.
#[derive(Debug)]
pub enum ConversionHeard {
    /// It is there, it can be made, or it cannot.
    Looked(Result<Option<Box<Converted>>, Refusal>),
    /// Its child has read so much of the source.
    Progress {
        /// Bytes done.
        done: Bytes,
        /// All of them.
        bytes: Bytes,
    },
    /// Its child is at its end.
    Made(Result<Box<Converted>, Refusal>),
    /// Its child is gone before that.
    Died(Exit),
}

/// A conversion that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// What is told of it.
    pub view: ConvertedView,
    /// The diffusion network that it is; nothing where the source is that already.
    pub component: Option<Component>,
}

/// How an engine's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// `killed by signal 9`, `exited with status 1`, …
    pub how: String,
    /// The last lines that it wrote.
    pub log: Vec<String>,
}
