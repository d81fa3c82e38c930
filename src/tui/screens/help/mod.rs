//! The keys of a screen, made from the key table.

pub mod state;
pub mod update;
pub mod view;

pub use state::State;
