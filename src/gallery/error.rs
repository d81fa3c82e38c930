//! Why a picture cannot be saved.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::units::Bytes;
use crate::workflow::{Kind, Refusal};

/// Why a picture cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// The disk is full.
    #[error("the disk is full: {} could not be written{}", path.display(), free_text(*free))]
    Full {
        /// What was to be written.
        path: PathBuf,
        /// What is left on that disk.
        free: Option<Bytes>,
    },
    /// The folder does not let us write.
    #[error("{} cannot be written to: {source}", folder.display())]
    Unwritable {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The picture is not where the engine said it was.
    #[error("{} is gone, and with it the picture", path.display())]
    Lost {
        /// Where it should have been.
        path: PathBuf,
    },
    /// The picture is there, but cannot be given its name.
    #[error("{} could not be renamed to {}: {source}", path.display(), to.display())]
    Unnamed {
        /// Where it is.
        path: PathBuf,
        /// What it was to be called.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn free_text(free: Option<Bytes>) -> String {
    free.map_or_else(String::new, |free| format!(", {free} are free"))
}

impl GalleryError {
    /// Returns the error of writing `path`, a full disk told apart.
    #[must_use]
    pub fn writing(path: &Path, source: io::Error) -> Self {
        let folder = path.parent().unwrap_or(path).to_owned();
        let errno = Errno::from_io_error(&source);
        if matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) {
            return Self::Full { path: path.to_owned(), free: free_space(&folder) };
        }
        Self::Unwritable { folder, source }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Full { .. } => "make room there, or choose another folder with --output; then retry the job",
            Self::Unwritable { .. } => "choose another folder with --output, or mend this one's permissions",
            Self::Lost { .. } => "something else removed it; retry the job",
            Self::Unnamed { .. } => "the picture is whole; move it to where you want it",
        }
    }
}

/// Returns what is left on the disk of this folder, where that can be told.
#[must_use]
pub fn free_space(folder: &Path) -> Option<Bytes> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(Bytes(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

impl From<&GalleryError> for Refusal {
    fn from(error: &GalleryError) -> Self {
        Self::new(Kind::Failed, error.to_string(), error.hint())
    }
}
