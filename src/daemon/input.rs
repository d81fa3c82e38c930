//! Everything that can happen to the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ledger::{Answer, LedgerError};
use crate::telemetry::Frame;
use crate::units::{DeviceId, RunId, SessionId};
use crate::wire::{LogLine, Reply, Report, Request};
use crate::workflow::{JobSpec, Refusal};

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

/// How an engine's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// `killed by signal 9`, `exited with status 1`, …
    pub how: String,
    /// The last lines that it wrote.
    pub log: Vec<String>,
}
