//! What the dashboard reads and writes for its operator, on another thread: profiles, and a queue as a file.

use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use super::message::Message;
use super::screens::offload::deeds::SaveOrder;
use crate::config::{presets, queue_file};
use crate::units::Timestamp;

/// What became of something, for the box of this place.
pub type Tell = (UnboundedSender<(usize, Message)>, usize);

/// Reads the saved profiles.
pub fn profiles((sender, at): Tell, folder: Option<PathBuf>) {
    spawn_blocking(move || {
        let profiles = folder.map(|folder| presets::saved(&folder)).unwrap_or_default();
        // When nobody listens any more the dashboard has ended.
        let _ended = sender.send((at, Message::Profiles(profiles)));
    });
}

/// Saves a profile.
pub fn save((sender, at): Tell, folder: Option<PathBuf>, order: SaveOrder) {
    spawn_blocking(move || {
        let saved = |folder: PathBuf| presets::save(&folder, &order.name, &order.preset, order.existing).map_err(|e| e.to_string());
        let result = folder.ok_or_else(|| "there is no folder for profiles".to_owned()).and_then(saved);
        // When nobody listens any more the dashboard has ended.
        let _ended = sender.send((at, Message::Saved { order: Box::new(order), result }));
    });
}

/// Writes a queue into a file of its own.
pub fn queue((sender, at): Tell, folder: Option<PathBuf>, text: String, now: Timestamp) {
    spawn_blocking(move || {
        let written = |folder: PathBuf| queue_file::write_into(&folder, &text, now).map_err(|e| format!("{}: {e}", folder.display()));
        let result = folder.ok_or_else(|| "there is no folder for it".to_owned()).and_then(written);
        // When nobody listens any more the dashboard has ended.
        let _ended = sender.send((at, Message::Written(result)));
    });
}
