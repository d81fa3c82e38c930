//! What can go wrong with the database.

use std::io;
use std::path::PathBuf;

use crate::units::{JobId, RunId};
use crate::workflow::{Kind, Refusal};

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened or is no database.
    #[error("the ledger {} cannot be opened: {source}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The folder of the database cannot be made.
    #[error("{}: making the folder failed: {source}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's database.
    #[error("{} is not a ledger of perilune", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// Written by a later version of this program.
    #[error("the ledger {} has version {found}; this program knows versions up to {known}", path.display())]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The disk is full.
    #[error("the disk of the ledger is full")]
    Full,
    /// A question or change failed.
    #[error("the ledger could not {doing}: {source}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// A value in the database makes no sense.
    #[error("the ledger holds a {what} that cannot be read: {problem}")]
    Damaged {
        /// What kind of value.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A job's record makes no sense: it was damaged, or a later version wrote it.
    #[error("job {job}: its record cannot be read: {problem}")]
    Unreadable {
        /// Which job.
        job: JobId,
        /// What is wrong with its record.
        problem: String,
    },
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(JobId),
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// A cursor that this program has not made.
    #[error("`{0}` is not where a page ended")]
    Cursor(String),
}

impl LedgerError {
    /// Returns a database error, a full disk told apart.
    pub(super) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite { doing, source },
        }
    }

    /// Returns an error about a job's rows: what makes no sense there says nothing about the database or the disk.
    pub(super) fn about(job: JobId, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| {
            if is_nonsense(&source) {
                return Self::Unreadable { job, problem: source.to_string() };
            }
            Self::sqlite(doing)(source)
        }
    }

    /// Returns whether the database answered, and what was asked for cannot be, however often it is tried.
    #[must_use]
    pub fn is_about_the_question(&self) -> bool {
        match self {
            Self::NoJob(_) | Self::NoRun(_) | Self::Cursor(_) | Self::Unreadable { .. } => true,
            Self::Open { .. }
            | Self::Folder { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Full
            | Self::Sqlite { .. }
            | Self::Damaged { .. } => false,
        }
    }

    /// What can be done about a job whose record cannot be read.
    pub(super) const UNREADABLE_HINT: &'static str =
        "retry it with the perilune that wrote it, or ask for it anew; `perilune queue clear --state failed` forgets it";

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Foreign { .. } | Self::Damaged { .. } => {
                "move the file away to start with an empty queue; a copy of it can be looked at with sqlite3"
            }
            Self::Folder { .. } => "check the folder's permissions, or set PERILUNE_HOME to one of your own",
            Self::Newer { .. } => "install the newer program, or move the file away to start with an empty queue",
            Self::Full => "make room on the disk; what was asked for before is kept",
            Self::Sqlite { .. } => "check the disk that holds it; `perilune doctor` names it",
            Self::Unreadable { .. } => Self::UNREADABLE_HINT,
            Self::NoJob(_) => "`perilune queue list` shows the jobs there are",
            Self::NoRun(_) | Self::Cursor(_) => "ask again from the start",
        }
    }
}

/// Returns whether a value was read and is not of its column's kind.
pub(super) fn is_nonsense(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..))
}

impl From<&LedgerError> for Refusal {
    fn from(error: &LedgerError) -> Self {
        let kind = match error {
            LedgerError::NoJob(_) | LedgerError::NoRun(_) => Kind::NotFound,
            LedgerError::Cursor(_) => Kind::Usage,
            LedgerError::Open { .. }
            | LedgerError::Folder { .. }
            | LedgerError::Foreign { .. }
            | LedgerError::Newer { .. }
            | LedgerError::Full
            | LedgerError::Sqlite { .. }
            | LedgerError::Damaged { .. }
            | LedgerError::Unreadable { .. } => Kind::Failed,
        };
        Self::new(kind, error.to_string(), error.hint())
    }
}
