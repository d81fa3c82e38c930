//! Finds the parts of models among a file's tensors.

use super::evidence::{self, Verdict};
use super::together::{Joined, together};
use super::{
    Family, FamilyError, FluxConfig, Role, Sd3Config, UnetConfig, ZImageConfig, flux, flux_names, qwen, sd3_names, sd15, zimage_names,
};
use crate::weights::{Catalog, DType, encoder_keys, keys};

/// The diffusion network of a file: its family, variant, and tensors under our names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which family it is.
    pub family: Family,
    /// Which member of it.
    pub variant: String,
    /// Its tensors, canonical names.
    pub catalog: Catalog,
}

/// Returns the diffusion network among these tensors, if there is one.
pub fn detect(catalog: &Catalog) -> Result<Option<Found>, FamilyError> {
    let Some((stripped, verdict)) = named(catalog)? else { return Ok(None) };
    let unet = |catalog: Catalog| {
        let config = UnetConfig::read(&catalog)?;
        let (family, variant) = sd15::classify(&config);
        Ok(Some(Found { family, variant, catalog }))
    };
    match verdict {
        Verdict::Refused(name) => Err(FamilyError::Unsupported { name }),
        Verdict::UnetOriginal => unet(stripped),
        Verdict::UnetDiffusers => unet(keys::unet_from_diffusers(&stripped)),
        Verdict::Original(family) | Verdict::Diffusers(family) => {
            let (catalog, variant) = transformer(family, &stripped)?;
            Ok(Some(Found { family, variant: variant.to_owned(), catalog }))
        }
    }
}

/// Returns the tensors of a transformer under our names, and the name of its variant.
fn transformer(family: Family, stripped: &Catalog) -> Result<(Catalog, &'static str), FamilyError> {
    Ok(match family {
        Family::Sd3 => {
            let catalog = sd3_names::canonical(stripped)?;
            let variant = Sd3Config::read(&catalog)?.variant();
            (catalog, variant)
        }
        Family::Flux => {
            let catalog = flux_names::canonical(stripped)?;
            let variant = match FluxConfig::read(&catalog)?.variant() {
                "dev" if flux::is_kontext(stripped) => "kontext",
                variant => variant,
            };
            (catalog, variant)
        }
        Family::ZImage => {
            let catalog = zimage_names::canonical(stripped)?;
            let variant = ZImageConfig::read(&catalog)?.variant();
            (catalog, variant)
        }
        // They are no transformers, and have a verdict of their own.
        Family::Sd15 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => (stripped.clone(), "base"),
    })
}

/// Returns the tensors of the diffusion network, prefix stripped, and what their names prove.
fn named(catalog: &Catalog) -> Result<Option<(Catalog, Verdict)>, FamilyError> {
    let prefix = evidence::denoiser_prefix(catalog);
    let stripped = match prefix {
        "" => catalog.clone(),
        prefix => catalog.strip(prefix),
    };
    let Some(verdict) = evidence::judge(&stripped) else { return Ok(None) };
    let bare = || if prefix.is_empty() { None } else { evidence::beside(catalog) };
    match evidence::mixture(&stripped, verdict).or_else(bare) {
        Some((other, tensor)) => Err(FamilyError::Mixed { family: verdict.title(), other: other.title(), tensor }),
        None => Ok(Some((stripped, verdict))),
    }
}

/// Returns the tensors of one part as other programs name them, if the file holds that part: what conversions are made of. Matrices
/// that are joined stay so.
pub fn as_named(catalog: &Catalog, role: Role) -> Result<Option<Catalog>, FamilyError> {
    if role != Role::Denoiser {
        return extract(catalog, role);
    }
    match named(catalog)? {
        Some((stripped, Verdict::Original(_) | Verdict::Diffusers(_))) => Ok(Some(stripped)),
        Some((_, Verdict::UnetOriginal | Verdict::UnetDiffusers | Verdict::Refused(_))) | None => extract(catalog, role),
    }
}

/// Returns a transformer that is stored under diffusers' names as its makers name and join it: its tensors under our names, and what
/// they are joined to. Nothing for all other networks.
pub fn of_makers(catalog: &Catalog) -> Result<Option<(Catalog, Vec<Joined>)>, FamilyError> {
    let Some((stripped, Verdict::Diffusers(family))) = named(catalog)? else { return Ok(None) };
    let ours = match family {
        Family::Sd3 => sd3_names::canonical(&stripped)?,
        Family::Flux => flux_names::canonical(&stripped)?,
        Family::ZImage => zimage_names::canonical(&stripped)?,
        Family::Sd15 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => return Ok(None),
    };
    // It has a name here beside diffusers'.
    let (_, ours) = ours.parted(|name| name == "pos_embed.pos_embed");
    let joined = together(&ours)?;
    Ok(Some((ours, joined)))
}

/// Returns the tensors of one part under our names, if the file holds that part.
pub fn extract(catalog: &Catalog, role: Role) -> Result<Option<Catalog>, FamilyError> {
    let candidates = || {
        let held = sd15::prefixes(role).iter().filter(|p| if p.is_empty() { may_be(catalog, role) } else { catalog.has_prefix(p) });
        held.map(|p| if p.is_empty() { catalog.clone() } else { catalog.strip(p) })
    };
    Ok(match role {
        Role::Denoiser => detect(catalog)?.map(|found| found.catalog),
        Role::Vae => candidates().map(|c| original_vae(&c)).find(|c| c.has("decoder.conv_in.weight")),
        Role::ClipL | Role::ClipG => clip_text(role, candidates())?,
        Role::T5 => candidates().map(|c| encoder_keys::t5(&c)).find(|c| c.has("encoder.block.0.layer.0.SelfAttention.q.weight")),
        Role::Qwen => {
            let found = candidates().map(|c| encoder_keys::language_model(&c)).find(|c| c.has("model.layers.0.self_attn.q_proj.weight"));
            found.as_ref().map(qwen::refuse).transpose()?;
            found
        }
    })
}

/// Returns whether a file can be one part alone: whether any name begins as some of the part's do in every layout. It spares
/// copies of whole catalogs that hold something else.
fn may_be(catalog: &Catalog, role: Role) -> bool {
    let beginnings: &[&str] = match role {
        Role::Denoiser => return true,
        Role::Vae => &["decoder."],
        Role::ClipL | Role::ClipG => &["text_model.", "encoder.", "transformer.resblocks."],
        Role::T5 => &["encoder.block.", "enc.blk."],
        Role::Qwen => &["model.layers.", "model.language_model.", "language_model.", "layers.", "blk."],
    };
    beginnings.iter().any(|beginning| catalog.has_prefix(beginning))
}

/// Returns the first that is a text encoder of CLIP's kind.
fn clip_text(role: Role, candidates: impl Iterator<Item = Catalog>) -> Result<Option<Catalog>, FamilyError> {
    for catalog in candidates {
        let named = encoder_keys::clip_text(&catalog).map_err(|uncut| {
            let storage = catalog.get(&uncut.tensor).map_or(DType::U8, |e| e.dtype);
            FamilyError::Uncut { role, tensor: uncut.tensor, storage }
        })?;
        if named.has("text_model.encoder.layers.0.mlp.fc1.weight") {
            return Ok(Some(named));
        }
    }
    Ok(None)
}

fn original_vae(catalog: &Catalog) -> Catalog {
    if catalog.has_prefix("decoder.up_blocks.") { keys::vae_from_diffusers(catalog) } else { catalog.clone() }
}
