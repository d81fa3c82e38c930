//! Finds the parts of models among a file's tensors.

use super::evidence::{self, Verdict};
use super::{Family, FamilyError, Role, UnetConfig, qwen, sd15};
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
    let stripped = match evidence::denoiser_prefix(catalog) {
        "" => catalog.clone(),
        prefix => catalog.strip(prefix),
    };
    let unet = |catalog: Catalog| {
        let config = UnetConfig::read(&catalog)?;
        let (family, variant) = sd15::classify(&config);
        Ok(Some(Found { family, variant, catalog }))
    };
    match evidence::judge(&stripped) {
        None => Ok(None),
        Some(Verdict::Refused(name)) => Err(FamilyError::Unsupported { name }),
        Some(Verdict::UnetOriginal) => unet(stripped),
        Some(Verdict::UnetDiffusers) => unet(keys::unet_from_diffusers(&stripped)),
        Some(Verdict::Original(family) | Verdict::Diffusers(family)) => {
            Ok(Some(Found { family, variant: "base".to_owned(), catalog: stripped }))
        }
    }
}

/// Returns the tensors of one part under our names, if the file holds that part.
pub fn extract(catalog: &Catalog, role: Role) -> Result<Option<Catalog>, FamilyError> {
    let candidates = || {
        let held = sd15::prefixes(role).iter().filter(|p| p.is_empty() || catalog.has_prefix(p));
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
