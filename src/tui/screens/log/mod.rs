//! Lines that the daemon and its engines wrote.

pub mod state;
pub mod update;
pub mod view;

pub use state::{Level, State};
