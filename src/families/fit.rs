//! Whether a model's text encoders make what its network reads, and its autoencoder reads what the network makes: their widths tell,
//! whatever their names say.

use super::denoiser::check_depth;
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
    let config = |role: Role| part(role).map(|catalog| ClipConfig::read(role, catalog)).transpose();
    let clip = |role: Role| config(role).map(|clip| clip.map(|clip| clip.width));
    let t5 = || part(Role::T5).map(|catalog| T5Config::read(catalog).map(|t5| t5.width)).transpose();
    match network {
        DenoiserConfig::Unet(unet) => {
            if unet.vector_width.is_some() {
                all_layers([config(Role::ClipL)?, config(Role::ClipG)?])?;
            }
            let read = "attn2.to_k.weight";
            match (clip(Role::ClipL)?, clip(Role::ClipG)?) {
                // Only the two together are as wide as what SDXL reads, which is told of a picture's size, too.
                (Some(l), Some(g)) => {
                    in_their_places(l, g)?;
                    same("clip_l beside clip_g", l + g, unet.context_width, read)
                }
                (Some(l), None) if unet.vector_width.is_none() => same("clip_l", l, unet.context_width, read),
                (Some(_) | None, None) | (None, Some(_)) => Ok(()),
            }
        }
        DenoiserConfig::Sd3(sd3) => {
            t5()?.map_or(Ok(()), |width| same("t5", width, sd3.context_width, "context_embedder.weight"))?;
            let (l, g) = (config(Role::ClipL)?, config(Role::ClipG)?);
            all_layers([l, g])?;
            let (Some(l), Some(g)) = (l, g) else { return Ok(()) };
            in_their_places(l.width, g.width)?;
            let pooled = |clip: &ClipConfig| clip.projection.map_or(clip.width, |projection| projection.width);
            same("clip_l beside clip_g", pooled(&l) + pooled(&g), sd3.pooled_width, "y_embedder.mlp.0.weight")
        }
        DenoiserConfig::Flux(flux) => {
            t5()?.map_or(Ok(()), |width| same("t5", width, flux.context_width, "txt_in.weight"))?;
            all_layers([config(Role::ClipL)?, None])?;
            clip(Role::ClipL)?.map_or(Ok(()), |width| same("clip_l", width, flux.pooled_width, "vector_in.in_layer.weight"))
        }
        DenoiserConfig::ZImage(zimage) => {
            let qwen = part(Role::Qwen).map(|catalog| QwenConfig::read(catalog).map(|qwen| qwen.width)).transpose()?;
            qwen.map_or(Ok(()), |width| same("qwen", width, zimage.context_width, "cap_embedder.1.weight"))
        }
    }
}

/// Fails where released encoders lost their last layers, which no shape tells. Some SD1.5 folders have a CLIP-L of eleven layers on
/// purpose, that is what they were trained with; what these families were trained with has all of them.
fn all_layers(encoders: [Option<ClipConfig>; 2]) -> Result<(), FamilyError> {
    const RELEASED: [(Role, u64, u64); 2] = [(Role::ClipL, 768, 12), (Role::ClipG, 1280, 32)];
    for clip in encoders.into_iter().flatten() {
        if let Some((role, _, layers)) = RELEASED.into_iter().find(|(role, width, _)| (*role, *width) == (clip.role, clip.width)) {
            check_depth(role, "text_model.encoder.layers", clip.layers, layers, "self_attn.q_proj.weight")?;
        }
    }
    Ok(())
}

/// Fails where two encoders that are read side by side were given for one another: their widths together are right, but of every
/// pair CLIP-L is the narrow one.
fn in_their_places(l: u64, g: u64) -> Result<(), FamilyError> {
    let swapped = FamilyError::OtherEncoder { role: Role::ClipL, found: "an encoder wider than the one given as clip_g", width: l };
    if l > g { Err(swapped) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::super::ClipActivation;
    use super::super::apart::Halves;
    use super::super::made_up::catalog;
    use super::super::sd3::Sd3Config;
    use super::*;

    fn encoder(role: Role, width: u64) -> Catalog {
        let activation = if role == Role::ClipG { ClipActivation::Gelu } else { ClipActivation::QuickGelu };
        let inner_width = 4 * width;
        let config = ClipConfig { role, vocabulary: 99, positions: 77, width, inner_width, layers: 2, activation, projection: None };
        catalog(&config.expected())
    }

    /// What is said of an SD3 whose text is 192 wide, with encoders of these widths.
    fn told(l: u64, g: u64) -> Result<(), FamilyError> {
        let network = Sd3Config {
            in_channels: 16,
            out_channels: 16,
            width: 128,
            inner_width: 512,
            head_width: 64,
            context_width: 256,
            pooled_width: 192,
            positions: 16,
            normed: false,
            dual: vec![false, false],
            last_text: Halves::Apart,
            last: Halves::Apart,
        };
        let parts = [
            (Role::Denoiser, catalog(&network.expected())),
            (Role::ClipL, encoder(Role::ClipL, l)),
            (Role::ClipG, encoder(Role::ClipG, g)),
        ];
        check(|role| parts.iter().find(|(r, _)| *r == role).map(|(_, catalog)| catalog))
    }

    #[test]
    fn a_released_encoder_that_lost_its_last_layer_is_told() {
        let clip = |role, width, layers| {
            let tokens = encoder(role, width);
            ClipConfig::read(role, &tokens).map(|config| ClipConfig { layers, ..config }).unwrap()
        };
        let lost = |clip| match all_layers([Some(clip), None]) {
            Err(FamilyError::Missing { role, tensor }) => format!("{role} {tensor}"),
            told => format!("{told:?}"),
        };
        let layer = |n: u64| format!("text_model.encoder.layers.{n}.self_attn.q_proj.weight");
        assert_eq!(lost(clip(Role::ClipL, 768, 11)), format!("clip_l {}", layer(11)));
        assert_eq!(lost(clip(Role::ClipG, 1280, 31)), format!("clip_g {}", layer(31)));
        let whole = [clip(Role::ClipL, 768, 12), clip(Role::ClipG, 1280, 32)].map(Some);
        assert_eq!((all_layers(whole), all_layers([Some(clip(Role::ClipL, 64, 3)), None])), (Ok(()), Ok(())));
    }

    #[test]
    fn encoders_given_for_one_another_are_told_also_where_their_widths_add_up() {
        assert_eq!(told(64, 128), Ok(()));
        let error = told(128, 64).unwrap_err();
        assert!(error.to_string().contains("128 wide, and not the clip_l that it was given as"), "{error}");
        let error = told(64, 64).unwrap_err();
        assert!(error.to_string().contains("is 128 wide, and the network reads 192, as its `y_embedder.mlp.0.weight` shows"), "{error}");
    }
}
