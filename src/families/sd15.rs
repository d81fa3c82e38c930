//! What tells networks of Stable Diffusion from one another, and where files keep each part.

use super::unet::UnetConfig;
use super::{Family, Role};

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
        // A network's is found by what its names prove.
        Role::Denoiser => &[],
        Role::Vae => &["first_stage_model.", "vae.", ""],
        Role::ClipL => &[
            "cond_stage_model.transformer.",
            "conditioner.embedders.0.transformer.",
            "text_encoders.clip_l.transformer.",
            "text_encoders.clip_l.",
            "te1.",
            "te.",
            "",
        ],
        Role::ClipG => &[
            "conditioner.embedders.1.model.",
            "conditioner.embedders.0.model.",
            "text_encoders.clip_g.transformer.",
            "text_encoders.clip_g.",
            "te2.",
            "",
        ],
        Role::T5 => &["text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.", "te3.", "te2.", "te1.", "te.", ""],
        Role::Qwen => &["text_encoders.qwen3_4b.transformer.", "text_encoders.qwen3_4b.", "text_encoders.llm.", "te1.", "te.", ""],
    }
}
