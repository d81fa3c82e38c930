//! Conversions that are there, as clients see them, and what is asked about them. Fields may be added, never renamed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Timestamp};

/// How a conversion stands to its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachedState {
    /// It is what its source would become now.
    Valid,
    /// Its source was changed since.
    Stale,
    /// Its source is not where it was.
    Orphaned,
    /// It is not what was written.
    Damaged,
    /// A part that nobody finished.
    Unfinished,
}

impl CachedState {
    /// Returns it in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Stale => "stale",
            Self::Orphaned => "source gone",
            Self::Damaged => "damaged",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A conversion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CachedView {
    /// The file.
    pub path: PathBuf,
    /// What it was made of; nothing of an unfinished one.
    pub source: Option<PathBuf>,
    /// The precision of the source.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
    /// What it takes on the disk.
    pub bytes: Bytes,
    /// How it stands.
    pub state: CachedState,
    /// What is wrong with it, where that was found by reading it.
    pub damage: Option<String>,
    /// Whether it lies outside of the model folders, where nothing is cleaned.
    pub outside: bool,
    /// Whether a program uses it now, as far as can be seen.
    pub in_use: bool,
    /// Whether the operator keeps it, whatever rule cleans.
    pub kept: bool,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// How often it was used instead of making it again.
    pub hits: Option<u64>,
    /// What it took to make.
    pub seconds: Option<f64>,
    /// The relative error of all weights together.
    pub rel_l2_mean: Option<f64>,
}

/// What is to go. With files and no rule, those go; with both, what the rule names among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanAsk {
    /// Only these; none means all.
    pub files: Vec<PathBuf>,
    /// Of each source, all but this many that were made last.
    pub keep: Option<u64>,
    /// What was not used for so many seconds.
    pub older_than_s: Option<u64>,
    /// As much as this, what is cheapest to miss first.
    pub to_free: Option<Bytes>,
    /// What cannot be used.
    pub useless: bool,
    /// Only say what would go.
    pub dry_run: bool,
}

impl CleanAsk {
    /// Returns whether it says by which rule something goes.
    #[must_use]
    pub fn has_rule(&self) -> bool {
        self.keep.is_some() || self.older_than_s.is_some() || self.to_free.is_some() || self.useless
    }
}

/// A conversion that went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneView {
    /// The file.
    pub path: PathBuf,
    /// What it took on the disk.
    pub bytes: Bytes,
    /// Why it goes.
    pub reason: String,
    /// Whether it is gone.
    pub removed: bool,
    /// Why it is not, where it should be.
    pub problem: Option<String>,
}

/// What reading a conversion has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedView {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; nothing where every byte is as it was written.
    pub problem: Option<String>,
}
