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
}

impl CacheError {
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    /// Returns the kind of refusal it leads to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Failed,
            Self::Damaged { .. } => Kind::BadFile,
        }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the folder's permissions and its disk",
            Self::Damaged { .. } => "convert its source again, or remove it with `perilune cache clean --useless`",
        }
    }
}

impl From<CacheError> for Refusal {
    fn from(error: CacheError) -> Self {
        Self::new(error.kind(), error.to_string(), error.hint())
    }
}
