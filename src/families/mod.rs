//! Which model a set of tensors is, and what it is made of.
//!
//! Everything is read from names and shapes; a file's name never counts. The facts come from
//! ComfyUI `comfy/model_detection.py` and diffusers `loaders/single_file_utils.py`.

pub mod apart;
pub mod blocks;
pub mod clip;
pub mod cost;
pub mod cost_transformer;
pub mod defaults;
pub mod denoiser;
pub mod detect;
pub mod encoder;
pub mod error;
pub mod evidence;
pub mod family;
pub mod flux;
pub mod flux_names;
pub mod latent;
#[cfg(test)]
mod made_up;
pub mod route;
pub mod sd15;
pub mod sd3;
pub mod sd3_names;
pub mod unet;
pub mod vae;
pub mod zimage;
pub mod zimage_names;

pub use blocks::{block_table, outline};
pub use clip::{ClipActivation, ClipConfig, ClipProjection};
pub use defaults::{Choice, Habits, unsuitable};
pub use denoiser::DenoiserConfig;
pub use detect::{Found, detect};
pub use error::FamilyError;
pub use family::{Family, Role};
pub use flux::FluxConfig;
pub use latent::LatentSpace;
pub use route::{Component, Description, Source, describe, describe_loadable};
pub use sd3::Sd3Config;
pub use unet::UnetConfig;
pub use vae::VaeConfig;
pub use zimage::ZImageConfig;
