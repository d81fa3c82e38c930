//! The multimodal diffusion transformer of Stable Diffusion 3.

pub mod layers;
pub mod model;

pub use model::Mmdit;
