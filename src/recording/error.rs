//! What can be wrong with a recording.

use std::io;
use std::path::PathBuf;

use crate::units::Timestamp;
use crate::workflow::{Kind, Refusal};

/// What is wrong with a recording, or with writing one.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is a file of this name already.
    #[error("{} is there already, and is not replaced", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {doing} failed: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no recording of perilune", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// Its end is missing.
    #[error("{} is cut off{}", path.display(), after(*last))]
    CutOff {
        /// Where.
        path: PathBuf,
        /// The last moment that is whole.
        last: Option<Timestamp>,
    },
    /// A line of it makes no sense.
    #[error("{} is damaged at line {line}: {problem}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// It was made by a build that speaks otherwise.
    #[error("{} was recorded with protocol {theirs} (perilune {version}), and this is protocol {ours}", path.display())]
    OtherBuild {
        /// Where.
        path: PathBuf,
        /// The protocol it was recorded with.
        theirs: u32,
        /// The version that recorded it.
        version: String,
        /// Ours.
        ours: u32,
    },
}

fn after(last: Option<Timestamp>) -> String {
    last.map(|at| format!(" after {at}")).unwrap_or_default()
}

impl From<RecordingError> for Refusal {
    fn from(error: RecordingError) -> Self {
        let (kind, hint) = match &error {
            RecordingError::Exists { .. } => (Kind::Refused, "choose another name, or remove it first"),
            RecordingError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => (Kind::NotFound, "check the path"),
            RecordingError::Io { .. } => (Kind::Failed, "check the path and its permissions"),
            RecordingError::Foreign { .. } => (Kind::BadFile, "`perilune record FILE` makes one"),
            RecordingError::CutOff { .. } => (Kind::BadFile, "--partial plays what is there; Ctrl-C ends a recording whole"),
            RecordingError::Damaged { .. } => (Kind::BadFile, "--partial plays what lies before"),
            RecordingError::OtherBuild { .. } => (Kind::BadFile, "play it with the build that recorded it"),
        };
        Self::new(kind, error.to_string(), hint)
    }
}
