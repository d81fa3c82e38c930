//! Networks. Each owns its structure and no weight.

pub mod clip;
pub mod denoiser;
pub mod flux;
pub mod mmdit;
pub mod transformer;
pub mod unet;
pub mod vae;
pub mod zimage;
