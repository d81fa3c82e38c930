//! What can be asked of the ledger, as values: the daemon's core makes them, the ledger's thread runs them.

use std::path::PathBuf;

use rusqlite::Connection;

use super::queue::Pausable;
use super::{Entry, LedgerError, damage, history, lessons, queue, runs};
use crate::families::Component;
use crate::jobs::{Failure, JobRow, JobState, JobView, Placement, Rank, Timing};
use crate::placement::{Forecast, Learned, OffloadAsk};
use crate::units::{DeviceId, JobId, RunId, Seed, Timestamp};
use crate::wire::{Cursor, Notice};
use crate::workflow::JobSpec;

/// A change to the ledger, or a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A new job, behind all of its priority.
    Append {
        /// What to do.
        spec: Box<JobSpec>,
        /// Whether it waits for its operator.
        held: bool,
    },
    /// A job is about to be given to an engine. Answer: [`Answer::Assigned`].
    Assign {
        /// Which job.
        job: JobId,
        /// To the engine of this device.
        device: DeviceId,
        /// The engine's process.
        pid: Option<u32>,
    },
    /// An engine has begun.
    Start {
        /// The attempt.
        run: RunId,
        /// The job.
        job: JobId,
    },
    /// A job's state, where nothing else changes: held, released, paused or resumed.
    Set {
        /// The job.
        job: JobId,
        /// Its new state.
        state: JobState,
    },
    /// A run ended without a result; its job waits again.
    Interrupt {
        /// The attempt.
        run: RunId,
        /// The job.
        job: JobId,
        /// Why.
        why: Interruption,
    },
    /// All pictures of a run are on disk under the engine's names. From here on the job will be done.
    Finish {
        /// The attempt.
        run: RunId,
        /// The job.
        job: JobId,
        /// What the engine told.
        outcome: Box<Outcome>,
        /// The pictures and the names they shall have.
        images: Vec<Planned>,
    },
    /// All pictures of a run have their names. The job is done.
    Publish {
        /// The attempt.
        run: RunId,
        /// The job.
        job: JobId,
        /// The names, in the order of the batch.
        paths: Vec<PathBuf>,
    },
    /// The job will not succeed.
    Fail {
        /// The job.
        job: JobId,
        /// The attempt that failed, if one did.
        run: Option<RunId>,
        /// Why.
        failure: Box<Failure>,
    },
    /// A job's record cannot be read, so nobody can run it: it fails, and what is left of the record stays.
    SetAside {
        /// The job.
        job: JobId,
        /// What is wrong with its record.
        problem: String,
    },
    /// An operator wants running jobs to be stopped; kept, should the daemon end first.
    WantCancel(Vec<JobId>),
    /// Jobs were taken back.
    Cancel {
        /// Which.
        jobs: Vec<JobId>,
        /// The attempt that was stopped for it.
        run: Option<RunId>,
    },
    /// Failed and cancelled jobs are to be tried again, behind all of their priority.
    Retry(Vec<JobId>),
    /// What is offloaded of a job's weights, in this and in later attempts.
    Rebudget {
        /// Which job.
        job: JobId,
        /// What is asked of it now.
        ask: OffloadAsk,
    },
    /// What jobs need converted lies there now.
    Converted {
        /// Which jobs.
        jobs: Vec<JobId>,
        /// Where it lies.
        result: PathBuf,
        /// The diffusion network that they have now, where it is another.
        component: Option<Box<Component>>,
    },
    /// New places in the queue.
    Place(Vec<(JobId, i32, Rank)>),
    /// Whether the operator keeps new jobs from starting.
    PauseQueue(bool),
    /// Whether the operator keeps conversions from going on.
    PauseConversions(bool),
    /// Finished jobs in these states are forgotten; none means all. Answer: [`Answer::Cleared`].
    Clear(Vec<JobState>),
    /// Something to remember.
    Note(Notice),
    /// What a run has shown of this box.
    Learn {
        /// Speeds.
        learned: Vec<Learned>,
        /// What its steps were expected to take, and took.
        forecast: Option<Forecast>,
    },
    /// A page of jobs. Answer: [`Answer::Page`].
    List {
        /// Only jobs in these states; none means all.
        states: Vec<JobState>,
        /// Where the page before ended.
        after: Option<Cursor>,
        /// The most rows.
        limit: u32,
    },
    /// These jobs, the next unfinished ones, and the last finished ones. Answer: [`Answer::Jobs`].
    Views {
        /// Which jobs, in this order.
        jobs: Vec<JobId>,
        /// The most unfinished ones besides, in the order of the queue.
        unfinished: u32,
        /// The most finished ones besides.
        finished: u32,
        /// Those besides that went wrong.
        amiss: Option<Amiss>,
    },
}

/// Which jobs are told of that went wrong, however many have ended well after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amiss {
    /// The time since which they have ended.
    pub since: Timestamp,
    /// The most of them.
    pub most: u32,
}

/// Why a run ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// Its engine died; how.
    EngineDied(String),
    /// The daemon died.
    DaemonDied,
    /// The daemon was told to end.
    Orderly,
    /// It was taken from an engine that had not begun, or that gave it back.
    GivenBack,
}

/// What the ledger answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is on disk.
    Done,
    /// The jobs that were changed or asked for. Views are left out of large changes.
    Jobs {
        /// What the queue needs of them.
        entries: Vec<Entry>,
        /// Everything about them.
        views: Vec<JobView>,
    },
    /// The attempt's number.
    Assigned {
        /// The number.
        run: RunId,
        /// The job as it is now.
        view: Box<JobView>,
    },
    /// These jobs were forgotten, and the states they were in.
    Cleared(Vec<(JobId, JobState)>),
    /// A page of jobs.
    Page {
        /// The jobs.
        rows: Vec<JobRow>,
        /// Where the next page starts, if there is one.
        next: Option<Cursor>,
    },
}

/// What an engine told of a run that succeeded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Where the time went.
    pub timing: Timing,
    /// Where the weights were.
    pub placement: Placement,
    /// The precision it was computed in.
    pub precision: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A picture that is on disk and waits for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Where the engine wrote it.
    pub target: PathBuf,
    /// The file's inode, by which it is known under any name.
    pub inode: Option<u64>,
    /// The name it shall have, unless that is taken.
    pub path: PathBuf,
    /// The seed that makes it again.
    pub seed: Seed,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Command {
    /// Returns whether nothing is changed.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Views { .. })
    }

    /// Returns whether it tells of something that has happened and must be written sooner or later.
    /// Otherwise it may be refused, and then nothing has happened.
    #[must_use]
    pub fn is_a_fact(&self) -> bool {
        !self.is_read() && !matches!(self, Self::Append { .. } | Self::Clear(_))
    }

    /// Runs the command.
    pub(super) fn apply(&self, connection: &Connection, now: Timestamp) -> Result<Answer, LedgerError> {
        match self {
            Self::Append { spec, held } => queue::append(connection, spec, *held, now),
            Self::Assign { job, device, pid } => runs::assign(connection, *job, *device, *pid, now),
            Self::Start { run, job } => runs::start(connection, *run, *job, now),
            Self::Set { job, state } => queue::set(connection, *job, *state, now),
            Self::Interrupt { run, job, why } => runs::interrupt(connection, *run, *job, why, now),
            Self::Finish { run, job, outcome, images } => runs::finish(connection, *run, *job, outcome, images, now),
            Self::Publish { run, job, paths } => runs::publish(connection, *run, *job, paths, now),
            Self::Fail { job, run, failure } => runs::fail(connection, *job, *run, failure, now),
            Self::SetAside { job, problem } => damage::set_aside(connection, *job, problem, now),
            Self::WantCancel(jobs) => queue::want_cancel(connection, jobs, now),
            Self::Cancel { jobs, run } => queue::cancel(connection, jobs, *run, now),
            Self::Retry(jobs) => queue::retry(connection, jobs, now),
            Self::Rebudget { job, ask } => queue::rebudget(connection, *job, ask, now),
            Self::Converted { jobs, result, component } => queue::converted(connection, jobs, result, component.as_deref(), now),
            Self::Place(places) => queue::place(connection, places),
            Self::PauseQueue(paused) => queue::pause(connection, Pausable::Queue, *paused, now),
            Self::PauseConversions(paused) => queue::pause(connection, Pausable::Conversions, *paused, now),
            Self::Clear(states) => history::clear(connection, states),
            Self::Note(notice) => history::event(connection, notice.time, &notice.level, notice.job, &notice.text).map(|()| Answer::Done),
            Self::Learn { learned, forecast } => lessons::learn(connection, learned, forecast.as_ref()),
            Self::List { states, after, limit } => history::list(connection, states, after.as_ref(), *limit),
            Self::Views { jobs, unfinished, finished, amiss } => history::views(connection, jobs, *unfinished, *finished, *amiss),
        }
    }
}
