//! The first screen: every device, what holds its memory, what runs and what happened.

pub mod devices;
pub mod panels;
pub mod state;
pub mod update;
pub mod view;

pub use state::{Pane, State};
