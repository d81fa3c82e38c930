//! The transformer of Z-Image.

pub mod layers;
pub mod model;

pub use model::ZImage;
