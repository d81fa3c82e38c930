//! Model sets that engines hold: their parts, where each lies, who uses them.

pub mod state;
pub mod update;
pub mod view;

pub use state::State;
