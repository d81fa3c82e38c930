//! The form of a run: what to make, judged while it is typed, and the command that asks for the same.

pub mod estimate;
pub mod fields;
pub mod pick;
mod places;
pub mod profiles;
pub mod state;
pub mod update;
pub mod view;

pub use fields::Field;
pub use state::{Mode, State};
