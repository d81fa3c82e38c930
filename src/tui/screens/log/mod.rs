//! Lines that the daemon and its engines wrote.

pub mod fields;
pub mod state;
pub mod update;
pub mod view;

pub use state::{Level, State};
