//! What was converted: files, what each was made of, what may go; and what is being converted.

pub mod deeds;
pub mod fields;
pub mod menu;
pub mod rows;
pub mod state;
pub mod update;
pub mod view;

pub use menu::Menu;
pub use state::{At, Row, State};
