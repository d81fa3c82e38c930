//! Ways in which a conversion ends without its file.

use std::io;
use std::path::{Path, PathBuf};

use crate::cache::CacheError;
use crate::library::LibraryError;
use crate::quant::QuantError;
use crate::units::Bytes;
use crate::workflow::{Kind, Refusal};

/// What stopped a conversion, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] LibraryError),
    /// The cache of conversions cannot be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file could not be written.
    #[error("{}: {doing} failed: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The disk has no room for the result.
    #[error("{}: no room for it: {missing} missing ({needed} needed, {free} free{})", path.display(), kept_free(*floor))]
    NoSpace {
        /// The file to be.
        path: PathBuf,
        /// How much is still to be written.
        needed: Bytes,
        /// How much the disk has.
        free: Bytes,
        /// How much of it is kept free for others.
        floor: Bytes,
        /// The difference.
        missing: Bytes,
    },
    /// The source was written into while it was read.
    #[error("{}: it was changed while it was converted", path.display())]
    SourceChanged {
        /// The source.
        path: PathBuf,
    },
    /// A tensor that cannot be stored that way.
    #[error("{}: `{tensor}`: {source}", path.display())]
    Codec {
        /// The source.
        path: PathBuf,
        /// Which.
        tensor: String,
        /// Why not.
        source: QuantError,
    },
    /// The source cannot become what was asked.
    #[error("{}: {reason}", path.display())]
    Impossible {
        /// The source.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// The kind of refusal.
        kind: Kind,
        /// What can be done.
        hint: &'static str,
    },
    /// Somebody put a file of theirs where the result was to be.
    #[error("{}: another file has taken this name meanwhile", path.display())]
    Taken {
        /// The name.
        path: PathBuf,
    },
    /// What was written is not what was meant to be.
    #[error("{}: what was written does not check: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The operator said stop.
    #[error("stopped; what is done is kept, and the next call goes on from there")]
    Cancelled,
}

impl ConversionError {
    /// Returns an error of the operating system, about a file.
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    /// Returns the kind of refusal it leads to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Cache(error) => error.kind(),
            Self::Io { .. } | Self::SourceChanged { .. } | Self::Damaged { .. } | Self::Taken { .. } => Kind::Failed,
            Self::NoSpace { .. } => Kind::Refused,
            Self::Codec { .. } => Kind::BadFile,
            Self::Impossible { kind, .. } => *kind,
            Self::Cancelled => Kind::Interrupted,
        }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Source(error) => error.hint(),
            Self::Cache(error) => error.hint().to_owned(),
            Self::Io { .. } => {
                "check the folder's permissions and its disk, or name another folder with --output; what is done is kept".to_owned()
            }
            Self::NoSpace { .. } => {
                "make room, for instance with `perilune cache clean --to-free SIZE --yes`; what is done is kept".to_owned()
            }
            Self::SourceChanged { .. } => "wait until whoever writes it is done, then convert it again".to_owned(),
            Self::Codec { .. } => "the file holds something that is no weight of a known format; convert its original".to_owned(),
            Self::Impossible { hint, .. } => (*hint).to_owned(),
            Self::Damaged { .. } => "the disk or the memory has a fault, or somebody wrote into the file; convert it again".to_owned(),
            Self::Taken { .. } => "run the same command again: the result gets another name".to_owned(),
            Self::Cancelled => "run the same command to go on".to_owned(),
        }
    }
}

fn kept_free(floor: Bytes) -> String {
    if floor == Bytes::ZERO { String::new() } else { format!(", {floor} of it kept free for others") }
}

impl From<ConversionError> for Refusal {
    fn from(error: ConversionError) -> Self {
        Self::new(error.kind(), error.to_string(), error.hint())
    }
}
