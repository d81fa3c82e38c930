//! Stable Diffusion 1.x: what tells it from its relatives, and its constants.

use super::unet::UnetConfig;
use super::{Family, Role};

/// What latents are multiplied with on their way from the autoencoder to the network.
pub const LATENT_SCALE: f64 = 0.18215;

/// Rows of latent channels to red, green and blue in −1…1, for previews.
/// Source: ComfyUI `comfy/latent_formats.py`, `SD15`.
pub const LATENT_RGB: [[f64; 3]; 4] =
    [[0.3512, 0.2297, 0.3227], [0.3250, 0.4974, 0.2350], [-0.2829, 0.1762, 0.2721], [-0.2120, -0.2616, -0.7177]];

/// Returns the family and the variant's name of a UNet.
#[must_use]
pub fn classify(unet: &UnetConfig) -> (Family, String) {
    let family = match (unet.vector_width, unet.linear_projection) {
        (Some(vector), _) if vector == unet.context_width + 5 * 256 => Family::SdxlRefiner,
        (Some(_), _) => Family::Sdxl,
        (None, true) => Family::Sd2,
        (None, false) => Family::Sd15,
    };
    let kind = match unet.in_channels {
        4 => "base",
        9 => "inpaint",
        8 => "image-conditioned",
        _ => "custom",
    };
    (family, kind.to_owned())
}

/// Returns the name prefixes under which files keep a part, the most specific first; `""` is a file of its own.
#[must_use]
pub fn prefixes(role: Role) -> &'static [&'static str] {
    match role {
        Role::Denoiser => super::evidence::DENOISER_PREFIXES,
        Role::Vae => &["first_stage_model.", "vae.", ""],
        Role::ClipL => &[
            "cond_stage_model.transformer.",
            "conditioner.embedders.0.transformer.",
            "text_encoders.clip_l.transformer.",
            "text_encoders.clip_l.",
            "te.",
            "",
        ],
        Role::ClipG => &[
            "conditioner.embedders.1.model.",
            "conditioner.embedders.0.model.",
            "text_encoders.clip_g.transformer.",
            "text_encoders.clip_g.",
            "",
        ],
        Role::T5 => &["text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.", ""],
        Role::Qwen => &["text_encoders.qwen3_4b.transformer.", "text_encoders.qwen3_4b.", "text_encoders.llm.", ""],
    }
}
