//! Ways in which the cache of conversions cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::workflow::{Kind, Refusal};

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The operating system refused.
    #[error("{}: {doing} failed: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The bytes are not those that were written.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The conversion.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// What is said of where back-ups go is no place.
    #[error("`{place}` is no place for back-ups: {reason}")]
    Place {
        /// What was said.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody said who asks a store.
    #[error("{place}: there are no keys for it")]
    NoKeys {
        /// The bucket.
        place: String,
    },
    /// A store refused, or was not reached.
    #[error("{place}: {doing} failed: {reason}")]
    Store {
        /// What was asked for.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// The operator said stop.
    #[error("stopped; what has arrived is kept, and the next call goes on from there")]
    Stopped,
}

impl CacheError {
    pub(super) fn store(place: &str, doing: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |error| Self::Store { place: place.to_owned(), doing, reason: reason(&error) }
    }

    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    /// Returns the kind of refusal it leads to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } | Self::Store { .. } => Kind::Failed,
            Self::Place { .. } | Self::NoKeys { .. } => Kind::Usage,
            Self::Stopped => Kind::Interrupted,
            Self::Damaged { .. } => Kind::BadFile,
        }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the folder's permissions and its disk",
            Self::Place { .. } => "set `backup` in config.yaml, or the variable PERILUNE_BACKUP",
            Self::NoKeys { .. } => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a store of your own also AWS_ENDPOINT_URL",
            Self::Store { .. } => "check the bucket's name, AWS_ENDPOINT_URL, AWS_REGION and what the keys may do",
            Self::Stopped => "run the same command to go on",
            Self::Damaged { .. } => "convert its source again, or remove it with `perilune cache clean --useless`",
        }
    }
}

/// Returns what a store said, without what was asked, which is said beside it.
fn reason(error: &object_store::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    // Stores answer in XML, with a word and a sentence.
    let said = |name: &str| Some(text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0.trim().to_owned());
    match (said("Code"), said("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        (None, _) => text.lines().next().unwrap_or_default().trim().to_owned(),
    }
}

impl From<CacheError> for Refusal {
    fn from(error: CacheError) -> Self {
        Self::new(error.kind(), error.to_string(), error.hint())
    }
}
