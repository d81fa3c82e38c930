//! Which model a set of tensors is, and what it is made of.
//!
//! Everything is read from names and shapes; a file's name never counts. The facts come from
//! ComfyUI `comfy/model_detection.py` and diffusers `loaders/single_file_utils.py`.

pub mod absence;
pub mod blocks;
pub mod clip;
pub mod cost;
pub mod detect;
pub mod error;
pub mod evidence;
pub mod family;
pub mod qwen;
pub mod route;
pub mod sd15;
pub mod t5;
pub mod unet;
pub mod vae;

pub use blocks::{block_table, outline};
pub use clip::{ClipActivation, ClipConfig, ClipProjection};
pub use detect::{Found, detect};
pub use error::FamilyError;
pub use family::{Family, Role};
pub use qwen::QwenConfig;
pub use route::{Component, Description, Source, describe, describe_loadable};
pub use t5::T5Config;
pub use unet::UnetConfig;
pub use vae::VaeConfig;
