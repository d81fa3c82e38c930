//! Pieces that screens are put together from. They know roles and texts, never the model.

pub mod bar;
pub mod data_table;
pub mod fuzzy;
pub mod line;
pub mod list;
pub mod panel;
pub mod picture;
pub mod popup;
pub mod search;
pub mod sweep;
pub mod text_field;
