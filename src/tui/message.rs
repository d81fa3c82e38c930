//! Everything that can happen to the dashboard.

use std::path::PathBuf;

use super::chord::Chord;
use super::gallery::{Picture, Source};
use super::pointer::Pointer;
use super::screens::offload::deeds::SaveOrder;
use super::terminal::probe::Answers;
use crate::config::presets::Saved;
use crate::profile::Preset;
use crate::units::Timestamp;
use crate::wire::{Change, Reply};
use crate::workflow::Refusal;

/// Something that happened.
#[derive(Debug)]
pub enum Message {
    /// It is now this late. Comes before every batch of others.
    Tick(Timestamp),
    /// A key was pressed.
    Pressed(Chord),
    /// The mouse did something.
    Pointed(Pointer),
    /// Text was pasted.
    Pasted(String),
    /// The terminal has this many columns and rows now.
    Resized(u16, u16),
    /// The terminal shows nothing of ours any more, because another program wrote to it.
    Resumed,
    /// The terminal answered.
    Probed(Answers),
    /// The daemon answers.
    Up {
        /// Where.
        place: String,
    },
    /// The daemon does not answer.
    Down {
        /// Why, and what to do.
        reason: Refusal,
        /// Seconds until the next try.
        retry_in_s: f64,
    },
    /// Something changed at the daemon.
    Heard(Box<Change>),
    /// A request was answered.
    Answered {
        /// The number it was asked under.
        id: u64,
        /// The answer.
        result: Box<Result<Reply, Refusal>>,
    },
    /// A profile was saved, or not.
    Saved {
        /// Which.
        order: Box<SaveOrder>,
        /// Where it is, or why nowhere.
        result: Result<Saved, String>,
    },
    /// A queue was written to this file, or not.
    Written(Result<PathBuf, String>),
    /// The profiles that were saved, by their names.
    Profiles(Vec<(String, Preset)>),
    /// A picture was made ready to be shown, or could not be.
    Pictured {
        /// Which.
        source: Source,
        /// The picture, or why there is none.
        result: Result<Picture, String>,
    },
}
