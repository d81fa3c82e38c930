//! Finished pictures as a grid, the newest first, and one of them large.

pub mod fields;
pub mod layout;
pub mod state;
pub mod update;
pub mod view;

pub use state::{Entry, State};
