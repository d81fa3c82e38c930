//! One device: everything that is read of it, its past, and who holds its memory.

pub mod facts;
pub mod fields;
pub mod graphs;
pub mod processes;
pub mod state;
pub mod update;
pub mod view;

pub use state::State;
