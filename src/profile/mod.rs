//! Named presets of a run: what a user likes to ask for, in a YAML file.

pub mod preset;

pub use preset::{EMBEDDED, Preset, PresetError};
