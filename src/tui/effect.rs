//! What `update` wants done outside of the model.

use super::gallery::PictureOrder;
use super::player::Play;
use super::screens::offload::deeds::SaveOrder;
use crate::wire::Request;

/// Something to be done outside of the model.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Ask the daemon.
    Call {
        /// The number that the answer will carry.
        id: u64,
        /// What.
        request: Box<Request>,
    },
    /// Give a text to the terminal's clipboard.
    Copy(String),
    /// Make a picture ready to be drawn.
    Prepare(Box<PictureOrder>),
    /// Save a profile.
    Save(Box<SaveOrder>),
    /// Write a queue, as commands, to a file.
    WriteQueue(String),
    /// Read the profiles that were saved.
    Profiles,
    /// Play a recording otherwise.
    Play(Play),
    /// Have the terminal tell of the mouse, or keep it for itself.
    Mouse(bool),
    /// Show the next box.
    NextHost,
    /// Draw everything anew.
    Redraw,
    /// Give the terminal back to the shell until it lets us go on.
    Suspend,
    /// Leave.
    Quit,
}
