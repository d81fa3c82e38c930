//! The lines of a recording.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;
use crate::wire::Change;
use crate::workflow::Refusal;

/// The shape of recordings that this version writes.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The shape of what follows.
    pub perilune_recording: u32,
    /// The protocol that the changes are in.
    pub protocol: u32,
    /// The program that recorded it.
    pub version: String,
    /// Which daemon it was: `local`, or `user@box`.
    pub place: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// Whether prompts are in it.
    pub prompts: bool,
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// When it was heard.
    pub at: Timestamp,
    /// What was heard.
    pub what: What,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The daemon answers.
    Up,
    /// It does not.
    Down {
        /// Why, and what to do.
        reason: Refusal,
        /// Seconds until the next try.
        retry_in_s: f64,
    },
    /// Something changed.
    Changed(Box<Change>),
    /// Nothing more was recorded.
    End,
}
