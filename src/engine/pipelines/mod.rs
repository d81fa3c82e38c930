//! A family put together: text to context, noise to latent, latent to pictures.

pub mod latent;
pub mod noise;
pub mod sd15;
pub mod solve;
pub mod text;
