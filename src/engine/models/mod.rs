//! Networks. Each owns its structure and no weight.

pub mod clip;
pub mod qwen;
pub mod t5;
pub mod unet;
pub mod vae;
