//! Networks. Each owns its structure and no weight.

pub mod clip;
pub mod denoiser;
pub mod flux;
pub mod gated;
pub mod mmdit;
pub mod qwen;
pub mod t5;
pub mod unet;
pub mod vae;
pub mod zimage;
