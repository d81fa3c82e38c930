//! The autoencoder of Stable Diffusion.

pub mod layers;
pub mod model;
pub mod tiling;

pub use model::Vae;
