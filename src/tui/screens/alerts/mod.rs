//! Everything that needs a look or a hand, each in one line, above the screen.

pub mod state;
pub mod update;
pub mod view;

pub use state::State;
