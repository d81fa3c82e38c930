//! Names of model families and of the parts a model has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of diffusion models: one architecture, one set of text encoders, one latent space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd15,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL base.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
    /// Stable Diffusion 3 and 3.5.
    Sd3,
    /// Flux.1.
    Flux,
    /// Z-Image.
    ZImage,
}

impl Family {
    /// Every family, as far as their names are known.
    pub const ALL: [Self; 7] = [Self::Sd15, Self::Sd2, Self::Sdxl, Self::SdxlRefiner, Self::Sd3, Self::Flux, Self::ZImage];

    /// Returns the name used in JSON and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "sd15",
            Self::Sd2 => "sd2",
            Self::Sdxl => "sdxl",
            Self::SdxlRefiner => "sdxl-refiner",
            Self::Sd3 => "sd3",
            Self::Flux => "flux",
            Self::ZImage => "z-image",
        }
    }

    /// Returns the name people use in sentences.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Sd15 => "SD1.5",
            Self::Sd2 => "SD2",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "SDXL refiner",
            Self::Sd3 => "SD3",
            Self::Flux => "Flux.1",
            Self::ZImage => "Z-Image",
        }
    }

    /// Returns whether the engine can run it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            Self::Sd15 | Self::Sdxl | Self::Sd3 | Self::Flux | Self::ZImage => true,
            Self::Sd2 | Self::SdxlRefiner => false,
        }
    }

    /// Returns the members of it that the engine can run.
    #[must_use]
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Self::Sd15 | Self::Sdxl => &["base"],
            Self::Sd3 => &["medium", "3.5-medium", "3.5-large", "3.5-large-turbo"],
            Self::Flux => &["dev", "schnell"],
            Self::ZImage => &["turbo", "base"],
            Self::Sd2 | Self::SdxlRefiner => &[],
        }
    }

    /// Returns the members whose shapes are those of this one: only what somebody says tells them apart.
    #[must_use]
    pub fn twins(self, variant: &str) -> &'static [&'static str] {
        match (self, variant) {
            (Self::Sd3, "3.5-large") => &["3.5-large", "3.5-large-turbo"],
            (Self::ZImage, "turbo") => &["turbo", "base"],
            _ => &[],
        }
    }

    /// Returns which of the members of the same shapes a model's title speaks of, if it does.
    #[must_use]
    pub fn told(self, variant: &str, title: &str) -> Option<&'static str> {
        let title = title.to_ascii_lowercase();
        let is_said = |twin: &&&str| twin.rsplit('-').next().is_some_and(|word| title.contains(word));
        // A turbo's title says what it was made from, too.
        self.twins(variant).iter().filter(is_said).max_by_key(|twin| twin.ends_with("turbo")).copied()
    }

    /// Returns the text encoders that a run needs.
    pub fn encoders(self) -> impl Iterator<Item = Role> {
        self.roles().iter().copied().filter(|role| role.is_encoder())
    }

    /// Returns whether a run can do without this part, if less well: SD3's text encoders were left out now and then when it was
    /// taught (Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis").
    #[must_use]
    pub fn can_do_without(self, role: Role) -> bool {
        matches!((self, role), (Self::Sd3, Role::T5))
    }

    /// Returns the parts that a run needs, the denoiser first.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Sd15 | Self::Sd2 => &[Role::Denoiser, Role::ClipL, Role::Vae],
            Self::Sdxl => &[Role::Denoiser, Role::ClipL, Role::ClipG, Role::Vae],
            Self::SdxlRefiner => &[Role::Denoiser, Role::ClipG, Role::Vae],
            Self::Sd3 => &[Role::Denoiser, Role::ClipL, Role::ClipG, Role::T5, Role::Vae],
            Self::Flux => &[Role::Denoiser, Role::ClipL, Role::T5, Role::Vae],
            Self::ZImage => &[Role::Denoiser, Role::Qwen, Role::Vae],
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a part does in its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The diffusion network: a UNet or a transformer.
    Denoiser,
    /// CLIP-L's text half, or the only CLIP encoder of a family.
    ClipL,
    /// `OpenCLIP` bigG's text half.
    ClipG,
    /// The encoder of T5-XXL.
    T5,
    /// The language model that encodes Z-Image's prompts.
    Qwen,
    /// The autoencoder between pixels and latents.
    Vae,
}

impl Role {
    /// Every one there is, in the order in which they are listed.
    pub const ALL: &[Self] = &[Self::Denoiser, Self::ClipL, Self::ClipG, Self::T5, Self::Qwen, Self::Vae];

    /// Returns the name used in JSON and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denoiser => "denoiser",
            Self::ClipL => "clip_l",
            Self::ClipG => "clip_g",
            Self::T5 => "t5",
            Self::Qwen => "qwen",
            Self::Vae => "vae",
        }
    }

    /// Returns whether it reads text.
    #[must_use]
    pub fn is_encoder(self) -> bool {
        match self {
            Self::ClipL | Self::ClipG | Self::T5 | Self::Qwen => true,
            Self::Denoiser | Self::Vae => false,
        }
    }

    /// Returns the flag with which an operator gives this part.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Denoiser => "--model",
            Self::ClipL => "--clip-l",
            Self::ClipG => "--clip-g",
            Self::T5 => "--t5",
            Self::Qwen => "--qwen",
            Self::Vae => "--vae",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tell_members_of_the_same_shapes_apart() {
        let told = |family: Family, found, title| family.told(found, title);
        assert_eq!(told(Family::ZImage, "turbo", "Z-Image Base"), Some("base"));
        assert_eq!(told(Family::ZImage, "turbo", "z_image_turbo, from the base model"), Some("turbo"));
        assert_eq!(told(Family::ZImage, "turbo", "Z-Image"), None);
        assert_eq!(told(Family::Sd3, "3.5-large", "Stable Diffusion 3.5 Large Turbo"), Some("3.5-large-turbo"));
        assert_eq!(told(Family::Sd3, "3.5-large", "stable-diffusion-3.5-large"), Some("3.5-large"));
        assert_eq!(told(Family::Flux, "dev", "a base model"), None, "shapes tell");
    }
}
