//! Which model a set of tensors is, and what it is made of.
//!
//! Everything is read from names and shapes; a file's name never counts. The facts come from
//! ComfyUI `comfy/model_detection.py` and diffusers `loaders/single_file_utils.py`.

pub mod absence;
pub mod apart;
pub mod blocks;
pub mod clip;
pub mod cost;
pub mod cost_transformer;
pub mod defaults;
pub mod denoiser;
pub mod detect;
pub mod error;
pub mod evidence;
pub mod family;
mod fit;
pub mod flux;
pub mod flux_names;
pub mod latent;
#[cfg(test)]
mod made_up;
pub mod qwen;
pub mod route;
pub mod sd15;
pub mod sd3;
pub mod sd3_names;
pub mod t5;
pub mod together;
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
pub use qwen::QwenConfig;
pub use route::{Component, Description, Source, describe, describe_loadable, describe_with_parts};
pub use sd3::Sd3Config;
pub use t5::T5Config;
pub use together::Joined;
pub use unet::UnetConfig;
pub use vae::VaeConfig;
pub use zimage::ZImageConfig;

use crate::weights::Catalog;

/// Returns an extent of a tensor that a part cannot be without.
fn needed(catalog: &Catalog, role: Role, tensor: &str, axis: usize) -> Result<u64, FamilyError> {
    catalog.dim(tensor, axis).ok_or_else(|| FamilyError::Missing { role, tensor: tensor.to_owned() })
}
