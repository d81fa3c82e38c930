//! Jobs: those that run, wait and are finished, and everything that can be done with them.

pub mod fields;
pub mod rows;
pub mod state;
pub mod update;
pub mod view;

pub use state::State;
