//! The tuner: where a model's weights live, tried out before anything is loaded.
//!
//! All planning is done here, by the same functions that the engine plans with; the daemon only tells what they need.

pub mod blocks;
pub mod facts;
pub mod donors;
pub mod deeds;
pub mod memory;
pub mod presets;
pub mod seconds;
pub mod state;
pub mod update;
pub mod view;
pub mod wish;

pub use facts::{Facts, Worked, work};
pub use state::{Pane, State, Subject, Typing};
