//! Model sets that engines hold: their parts, where each lies, who uses and shares them; loaded, pinned, kept and let go.

pub mod deeds;
pub mod fields;
pub mod menu;
pub mod rows;
pub mod state;
pub mod update;
pub mod view;

pub use menu::Menu;
pub use state::{Row, State, Target};
