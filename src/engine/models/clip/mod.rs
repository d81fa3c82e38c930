//! CLIP's text encoders.

pub mod model;

pub use model::{ClipOutput, ClipText};
