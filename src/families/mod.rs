//! Which model a set of tensors is, and what it is made of.
//!
//! Everything is read from names and shapes; a file's name never counts. The facts come from
//! ComfyUI `comfy/model_detection.py` and diffusers `loaders/single_file_utils.py`.

pub mod blocks;
pub mod clip;
pub mod cost;
pub mod denoiser;
pub mod defaults;
pub mod detect;
pub mod encoder;
pub mod error;
pub mod evidence;
pub mod family;
pub mod latent;
pub mod route;
pub mod sd15;
pub mod unet;
pub mod vae;

pub use blocks::{block_table, outline};
pub use clip::{ClipActivation, ClipConfig, ClipProjection};
pub use denoiser::DenoiserConfig;
pub use clip::ClipConfig;
pub use defaults::{Choice, Habits, unsuitable};
pub use detect::{Found, detect};
pub use error::FamilyError;
pub use family::{Family, Role};
pub use latent::LatentSpace;
pub use route::{Component, Description, Source, describe, describe_loadable};
pub use unet::UnetConfig;
pub use vae::VaeConfig;
