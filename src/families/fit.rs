//! Whether a model's text encoders make what its network reads, and its autoencoder reads what the network makes: their widths tell,
//! whatever their names say.

use super::{ClipConfig, DenoiserConfig, Family, FamilyError, QwenConfig, Role, T5Config, VaeConfig};
use crate::weights::Catalog;

/// Checks the other parts that are there against the network, both under our names. Widths are those of diffusers' pipelines: a UNet
/// reads its encoders side by side, SD3 and Flux.1 a T5 (Flux.1 what CLIP-L makes of a whole text, too), Z-Image a Qwen3.
pub(super) fn check<'a>(part: impl Fn(Role) -> Option<&'a Catalog>) -> Result<(), FamilyError> {
    let Some(network) = part(Role::Denoiser) else { return Ok(()) };
    let network = DenoiserConfig::read(network)?;
    if let Some(vae) = part(Role::Vae).map(VaeConfig::read).transpose()? {
        autoencoder(&network, vae.latent_channels)?;
    }
    let clip = |role: Role| part(role).map(|catalog| ClipConfig::read(role, catalog).map(|clip| clip.width)).transpose();
    let t5 = || part(Role::T5).map(|catalog| T5Config::read(catalog).map(|t5| t5.width)).transpose();
    match network {
        DenoiserConfig::Unet(unet) => {
            let read = "attn2.to_k.weight";
            match (clip(Role::ClipL)?, clip(Role::ClipG)?) {
                // Only the two together are as wide as what SDXL reads, which is told of a picture's size, too.
                (Some(l), Some(g)) => same("clip_l beside clip_g", l + g, unet.context_width, read),
                (Some(l), None) if unet.vector_width.is_none() => same("clip_l", l, unet.context_width, read),
                (Some(_) | None, None) | (None, Some(_)) => Ok(()),
            }
        }
        DenoiserConfig::Sd3(sd3) => t5()?.map_or(Ok(()), |width| same("t5", width, sd3.context_width, "context_embedder.weight")),
        DenoiserConfig::Flux(flux) => {
            t5()?.map_or(Ok(()), |width| same("t5", width, flux.context_width, "txt_in.weight"))?;
            clip(Role::ClipL)?.map_or(Ok(()), |width| same("clip_l", width, flux.pooled_width, "vector_in.in_layer.weight"))
        }
        DenoiserConfig::ZImage(zimage) => {
            let qwen = part(Role::Qwen).map(|catalog| QwenConfig::read(catalog).map(|qwen| qwen.width)).transpose()?;
            qwen.map_or(Ok(()), |width| same("qwen", width, zimage.context_width, "cap_embedder.1.weight"))
        }
    }
}

/// Checks that an autoencoder's latents are what the network draws.
fn autoencoder(network: &DenoiserConfig, channels: u64) -> Result<(), FamilyError> {
    let family = match network {
        // SD2 and SDXL draw as many.
        DenoiserConfig::Unet(_) => Family::Sd15,
        DenoiserConfig::Sd3(_) => Family::Sd3,
        DenoiserConfig::Flux(_) => Family::Flux,
        DenoiserConfig::ZImage(_) => Family::ZImage,
    };
    let wanted = family.latent_space().channels;
    if channels == wanted { Ok(()) } else { Err(FamilyError::OtherVae { channels, wanted }) }
}

fn same(encoders: &str, width: u64, wanted: u64, tensor: &'static str) -> Result<(), FamilyError> {
    if width == wanted { Ok(()) } else { Err(FamilyError::Unfit { encoders: encoders.to_owned(), width, wanted, tensor }) }
}
