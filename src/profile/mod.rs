//! Named presets of a run: what a user likes to ask for, in a YAML file.

mod as_donors;
mod as_gigabytes;
pub mod daemon;
pub mod misread;
pub mod part;
pub mod position;
pub mod preset;
pub mod set;

pub use daemon::DaemonPreset;
pub use misread::Misread;
pub use part::{PartPreset, PartPresets};
pub use preset::{EMBEDDED, Preset, PresetError};
pub use set::SetPreset;
