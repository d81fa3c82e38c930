//! CLIP's text encoder.

pub mod model;

pub use model::ClipText;
