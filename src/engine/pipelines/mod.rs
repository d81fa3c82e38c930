//! A family put together: text to context, noise to latent, latent to pictures.

pub mod autoencoder;
pub mod denoise;
pub mod latent;
pub mod noise;
pub mod solve;
pub mod text;
