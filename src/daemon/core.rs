//! The one task that owns the daemon's state: things happen, state changes, things are asked for.
//!
//! No file, socket, process or clock is touched here; `run` does what is asked for and tells what came
//! of it. What has happened is changed in memory at once and told to clients when the ledger has it.
//! The ledger answers in the order in which it is asked, and nothing about a job is published but
//! through such an answer, so a snapshot and the changes after it never contradict each other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::ahead::Ahead;
use super::calibrations::Calibration;
use super::conversions::Desk;
use super::handlers;
use super::input::{Asker, Input, Ticket};
use super::output::Output;
use super::pending::Pending;
use super::sets::Stock;
use super::state::{Attempt, Engine, Queue};
use super::{answers, calibrations, conversions, reports, scheduler, sets, supervision};
use crate::config::Supervision;
use crate::devices::{SimulatedGpu, Visible};
use crate::jobs::JobState;
use crate::ledger::{Command, Recovered};
use crate::placement::{Experience, Floors};
use crate::telemetry::Frame;
use crate::units::{DeviceId, JobId, RunId, SessionId, Timestamp};
use crate::wire::control::{Counts, Topics};
use crate::wire::status::CacheView;
use crate::wire::work::KeptTexts;
use crate::wire::{Change, Notice, Reply};
use crate::workflow::{Defaults, JobDraft, Refusal};

/// What the daemon was told to be like.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What stands in for what a draft does not say.
    pub defaults: Defaults,
    /// The device that computes; `None` is the first GPU, or the processor.
    pub compute: Option<DeviceId>,
    /// Which GPUs jobs may run on, where the operator has said it.
    pub visible: Option<Visible>,
    /// Patience with engines.
    pub patience: Supervision,
    /// GPUs that are simulated.
    pub simulated: Vec<SimulatedGpu>,
    /// Where their engines count what they take.
    pub tally: PathBuf,
    /// Where engines keep what text encoders made of texts.
    pub texts: KeptTexts,
    /// Processor threads of an engine.
    pub engine_threads: Option<u32>,
    /// Seconds after which an idle engine ends.
    pub engine_idle_s: Option<f64>,
    /// The least level of an engine's log lines.
    pub engine_log: String,
    /// The most conversions that are made at once.
    pub conversions_at_once: usize,
    /// How much of each device stays free, where the operator has said it.
    pub floors: Floors,
    /// Sets that are loaded before a job wants them.
    pub ahead: Vec<Ahead>,
    /// This process.
    pub pid: u32,
}

/// The daemon's state.
#[derive(Debug)]
pub struct Core {
    pub(super) policy: Policy,
    /// What tells this ledger's hidden files from those of others.
    pub(super) tag: String,
    pub(super) queue: Queue,
    pub(super) attempts: BTreeMap<RunId, Attempt>,
    pub(super) engines: BTreeMap<DeviceId, Engine>,
    /// What is being measured, and where.
    pub(super) calibrations: BTreeMap<DeviceId, Calibration>,
    /// What is known of loaded sets besides what engines say.
    pub(super) stock: Stock,
    /// What is being converted.
    pub(super) conversions: Desk,
    /// The conversions that there are.
    pub(super) cache: CacheView,
    /// Jobs in final states; the others are counted by the queue.
    pub(super) finished: Counts,
    /// What runs have shown of this box.
    pub(super) experience: Experience,
    pub(super) paused: bool,
    /// Why the ledger cannot be written to.
    pub(super) trouble: Option<String>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) frame: Arc<Frame>,
    /// The last fault of each GPU that operators were told of.
    pub(super) told_faults: BTreeMap<DeviceId, Timestamp>,
    /// Drafts that wait for the first readings, in the order in which they came.
    pub(super) unread: VecDeque<(Asker, Box<JobDraft>)>,
    /// Whether drafts have waited for readings before.
    pub(super) waited_for_readings: bool,
    pub(super) listeners: BTreeMap<SessionId, Topics>,
    /// Devices whose bus traffic clients look at.
    pub(super) watched: BTreeMap<SessionId, DeviceId>,
    pub(super) pending: HashMap<Ticket, Pending>,
    next_ticket: u64,
    /// When an end in order is given up for a hard one.
    pub(super) stop_by: Option<Timestamp>,
    exited: bool,
    /// Hidden pictures of runs that were taken from an engine, removed when it is gone.
    pub(super) orphans: HashMap<DeviceId, Vec<PathBuf>>,
    pub(super) news: News,
    pub(super) started: Timestamp,
    pub(super) now: Timestamp,
    out: Vec<Output>,
}

/// What is to be told at the end of a turn.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing to tell or not")]
pub(super) struct News {
    /// Engines have changed.
    pub(super) engines: bool,
    /// Loaded sets have changed.
    pub(super) sets: bool,
    /// Conversions have changed.
    pub(super) conversions: bool,
    /// Counts have changed.
    pub(super) counts: bool,
    /// So much has changed that a snapshot is the shortest way to tell.
    pub(super) everything: bool,
}

/// Notices that are kept in memory.
const NOTICES: usize = 50;

impl Core {
    /// Returns the state that a ledger leads to, and what is to be done first.
    #[must_use]
    pub fn new(policy: Policy, recovered: Recovered, now: Timestamp) -> (Self, Vec<Output>) {
        let count = |state| recovered.finished.get(&state).copied().unwrap_or(0);
        let finished = Counts {
            succeeded: count(JobState::Done),
            failed: count(JobState::Failed),
            cancelled: count(JobState::Cancelled),
            ..Counts::default()
        };
        let mut core = Self {
            policy,
            tag: recovered.tag.clone(),
            queue: Queue::default(),
            attempts: BTreeMap::new(),
            engines: BTreeMap::new(),
            calibrations: BTreeMap::new(),
            stock: Stock::default(),
            conversions: Desk::new(recovered.conversions_paused),
            cache: CacheView::default(),
            finished,
            experience: recovered.experience.clone(),
            paused: recovered.paused,
            trouble: None,
            notices: recovered.notices.clone().into(),
            frame: Arc::new(Frame::empty(now)),
            told_faults: BTreeMap::new(),
            unread: VecDeque::new(),
            waited_for_readings: false,
            listeners: BTreeMap::new(),
            watched: BTreeMap::new(),
            pending: HashMap::new(),
            next_ticket: 0,
            stop_by: None,
            exited: false,
            orphans: HashMap::new(),
            news: News::default(),
            started: now,
            now,
            out: Vec::new(),
        };
        super::recovery::take_up(&mut core, recovered);
        super::ahead::begin(&mut core);
        core.emit(Output::Count);
        core.settle();
        let first = std::mem::take(&mut core.out);
        (core, first)
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        self.now = now;
        match input {
            Input::Asked(asker, request) => handlers::handle(self, asker, request),
            Input::Left(session) => handlers::subscribe::left(self, session),
            Input::Prepared(ticket, result) => handlers::submit::prepared(self, ticket, result),
            Input::LookedUp(asker, result) => self.answer(asker, result),
            Input::Answered(ticket, result) => answers::answered(self, ticket, result),
            Input::Delayed(ticket, refusal) => answers::delayed(self, ticket, refusal),
            Input::Trouble(trouble) => supervision::trouble(self, trouble),
            Input::Engine { device, generation, heard } => supervision::heard(self, device, generation, heard),
            Input::Located(asker, wish) => conversions::located(self, asker, wish),
            Input::Conversion(id, heard) => conversions::heard(self, id, heard),
            Input::Counted(cache) => self.cache = cache,
            Input::Named(run, result) => reports::named(self, run, result),
            Input::Readings(frame) => supervision::readings(self, frame),
            Input::Read(ticket, frame) => handlers::read(self, ticket, frame),
            Input::Logged(line) => self.publish(Change::Log(line)),
            Input::Tick => supervision::tick(self),
            Input::Stop => supervision::stop(self),
            Input::Kill => supervision::kill(self),
        }
        self.settle();
        std::mem::take(&mut self.out)
    }

    /// Starts what can start, and tells what is to be told.
    fn settle(&mut self) {
        if self.stop_by.is_none() {
            calibrations::start(self);
            sets::start(self);
            conversions::start(self);
        }
        if self.stop_by.is_some() {
            self.end_when_all_is_said();
        } else if !self.paused && self.trouble.is_none() {
            while let Some(device) = scheduler::lacking(&self.queue, &self.engines) {
                supervision::start_engine(self, device);
            }
            while let Some(assignment) = scheduler::next(&self.queue, &self.engines) {
                reports::assign(self, assignment);
            }
        }
        super::snapshot::tell_news(self);
    }

    /// Returns whether somebody has asked it to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop_by.is_some()
    }

    fn end_when_all_is_said(&mut self) {
        let late = self.stop_by.is_some_and(|by| by <= self.now);
        let waits = self.attempts.is_empty() && self.pending.values().all(Pending::is_a_question);
        let gone = self.engines.values().all(|e| !e.is_alive());
        if !self.exited && (late || (waits && gone)) {
            self.exited = true;
            self.emit(Output::Exit);
        }
    }

    /// Returns when the core wants to be told that time has passed.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let attempts = self.attempts.values().filter_map(|a| a.stop_by);
        let engines = self.engines.values().filter_map(|e| supervision::wake_at(self, e));
        attempts.chain(engines).chain(sets::wake_at(self)).chain(self.stop_by).min()
    }

    /// Returns all counts of jobs.
    pub(super) fn counts(&self) -> Counts {
        let waiting = self.queue.counts();
        Counts { queued: waiting.queued, held: waiting.held, running: waiting.running, ..self.finished }
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.out.push(output);
    }

    pub(super) fn publish(&mut self, change: Change) {
        self.emit(Output::Publish(Box::new(change)));
    }

    pub(super) fn answer(&mut self, asker: Asker, result: Result<Reply, Refusal>) {
        self.emit(Output::Answer(asker, result));
    }

    /// Asks the ledger for something; `pending` says what follows.
    pub(super) fn ask_ledger(&mut self, command: Command, pending: Pending) {
        let ticket = self.expect(pending);
        self.emit(Output::Ledger { ticket, command, now: self.now });
    }

    /// Returns a ticket for something that takes time.
    pub(super) fn expect(&mut self, pending: Pending) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.pending.insert(ticket, pending);
        ticket
    }

    /// Tells operators of something, now and after a restart.
    pub(super) fn notice(&mut self, level: &str, text: String, job: Option<JobId>) {
        let notice = Notice { time: self.now, level: level.to_owned(), text, job };
        if self.notices.len() == NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(notice.clone());
        self.publish(Change::Notice(notice.clone()));
        self.ask_ledger(Command::Note(notice), Pending::Nothing);
    }

    /// Takes a job that reached a final state out of memory.
    pub(super) fn conclude(&mut self, job: JobId, state: JobState) {
        if self.queue.remove(job).is_some()
            && let Some(count) = self.count_of(state)
        {
            *count += 1;
        }
    }

    /// Notes that a job is in a final state which was never in memory.
    pub(super) fn count(&mut self, state: JobState) {
        if let Some(count) = self.count_of(state) {
            *count += 1;
        }
    }

    /// Notes that a finished job is forgotten, or no longer finished.
    pub(super) fn uncount(&mut self, state: JobState) {
        if let Some(count) = self.count_of(state) {
            *count = count.saturating_sub(1);
        }
    }

    fn count_of(&mut self, state: JobState) -> Option<&mut u64> {
        self.news.counts = true;
        match state {
            JobState::Done => Some(&mut self.finished.succeeded),
            JobState::Failed => Some(&mut self.finished.failed),
            JobState::Cancelled => Some(&mut self.finished.cancelled),
            JobState::Queued | JobState::Held | JobState::Running | JobState::Paused => None,
        }
    }
}
