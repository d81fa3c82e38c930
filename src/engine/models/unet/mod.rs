//! The UNet of Stable Diffusion.

pub mod layers;
pub mod model;

pub use model::Unet;
