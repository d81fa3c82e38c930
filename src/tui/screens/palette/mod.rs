//! The command palette: find a command by a few of its letters, in the words of the command line.

pub mod entries;
pub mod numbers;
pub mod state;
pub mod update;
pub mod view;

pub use state::State;
