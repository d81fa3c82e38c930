//! Everything that the core may ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::input::{Asker, Ticket};
use super::planning::Question;
use crate::devices::DeviceReading;
use crate::ledger::{Command, Planned};
use crate::units::{DeviceId, RunId, SessionId, Timestamp};
use crate::wire::control::Topics;
use crate::wire::{Change, CleanAsk, ConvertAsk, Order, Reply, SignalAsk, Status};
use crate::workflow::{Defaults, JobDraft, Refusal, Wish};

/// Something to be done by others.
#[derive(Debug)]
pub enum Output {
    /// Answer a client.
    Answer(Asker, Result<Reply, Refusal>),
    /// Answer a client that asked for events: a snapshot first, then what changes.
    Subscribe {
        /// Who.
        asker: Asker,
        /// What it wants to hear of.
        topics: Topics,
        /// Everything, now.
        snapshot: Box<Status>,
    },
    /// Send everything anew to those who listen to the same.
    Refresh {
        /// To whom.
        sessions: Vec<SessionId>,
        /// Everything, now.
        snapshot: Box<Status>,
    },
    /// Tell everybody who wants to hear of it.
    Publish(Box<Change>),
    /// Find out what a draft asks for.
    Prepare {
        /// For the answer.
        ticket: Ticket,
        /// What was asked for.
        draft: Box<JobDraft>,
        /// What stands in for what was not said.
        defaults: Box<Defaults>,
    },
    /// Look for models, and answer the client.
    LookUp(Asker, LookUp),
    /// Read the devices now.
    Read(Ticket, Duration),
    /// Read the devices all the time, or no longer, since nobody looks.
    Watch(bool),
    /// Measure the traffic on these devices' buses, and on no others.
    WatchBus(BTreeSet<DeviceId>),
    /// These processes are our engines.
    Engines(BTreeMap<u32, DeviceId>),
    /// Have the ledger do something.
    Ledger {
        /// For the answer.
        ticket: Ticket,
        /// What.
        command: Command,
        /// When it happened.
        now: Timestamp,
    },
    /// Start an engine.
    Spawn {
        /// For this device.
        device: DeviceId,
        /// As its process of this number.
        generation: u64,
        /// Starts before it that failed, in a row.
        failed_starts: u32,
    },
    /// Tell an engine something.
    Order {
        /// Its device.
        device: DeviceId,
        /// What.
        order: Box<Order>,
    },
    /// Kill an engine.
    Kill {
        /// Its device.
        device: DeviceId,
        /// Why, for the log and for its exit.
        why: String,
    },
    /// Give pictures their names.
    Name {
        /// Of which run.
        run: RunId,
        /// Which pictures.
        images: Vec<Planned>,
    },
    /// Remove pictures that nobody will name.
    Discard(Vec<PathBuf>),
    /// Find what a client asks to be converted.
    Locate(Asker, ConvertAsk),
    /// Look whether a conversion is there.
    LookForConversion {
        /// Its number.
        id: u64,
        /// What.
        wish: Wish,
    },
    /// Have a child convert.
    Convert {
        /// Its number.
        id: u64,
        /// What.
        wish: Wish,
    },
    /// A conversion is over, or nobody wants it any more: its child ends, if it is there.
    StopConversion(u64),
    /// Count the conversions that there are.
    Count,
    /// End the program.
    Exit,
}

/// What is looked for outside of the core.
#[derive(Debug, Clone, PartialEq)]
pub enum LookUp {
    /// All models.
    Models,
    /// What a file or folder holds.
    Inspect(String),
    /// The last lines of the log.
    Log(u32),
    /// What would become of a job's weights.
    Plan(Box<Question>),
    /// What plans of a job are worked out from.
    Tune(Box<Question>),
    /// Which precisions of a model suit these devices.
    Advise(String, Vec<DeviceReading>),
    /// The conversions that there are.
    Cache,
    /// What of them may go; it goes, unless it is only asked about.
    Clean(CleanAsk),
    /// Whether a conversion is what was written.
    Verify(PathBuf),
    /// Whether a conversion is kept from now on.
    Keep {
        /// The file.
        path: PathBuf,
        /// Whether it is kept.
        kept: bool,
    },
    /// The process that is to get a signal.
    Signal(SignalAsk),
}
