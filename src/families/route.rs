//! Puts files together into a model: which part comes from which file, and what is missing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::absence::instead;
use super::detect::{Found, detect, extract};
use super::{Family, FamilyError, Role, block_table, clip, fit, outline};
use crate::units::{Bytes, Size};
use crate::weights::{BlockTable, Catalog, DType};

/// A weight file, or the shards of one, with the part its place says it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The files, in the order of the catalog's file numbers.
    pub files: Vec<PathBuf>,
    /// The part that a folder's layout or a flag says this is; `None` for whole checkpoints.
    pub role: Option<Role>,
    /// Its tensors.
    pub catalog: Catalog,
}

/// One part of a model and the files it is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What it does.
    pub role: Role,
    /// The stored type of most of its weights.
    pub precision: DType,
    /// Its stored size.
    pub bytes: Bytes,
    /// How many tensors it has.
    pub tensors: usize,
    /// Where they are.
    pub files: Vec<PathBuf>,
    /// How most of its bytes are stored, under the name that a conversion to it has: `fp16`, `nf4`, `Q4_K_M`; said where somebody
    /// asks what a file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
}

/// A model as its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which family, if a diffusion network was found.
    pub family: Option<Family>,
    /// Which member of it.
    pub variant: Option<String>,
    /// Its parts.
    pub components: Vec<Component>,
    /// What else it may be by its shapes, where its header does not say which of them it is (`modelspec.title`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub could_be: Vec<String>,
    /// Parts that a run needs and nobody gave.
    pub missing: Vec<Role>,
    /// The stored type of most weights.
    pub precision: Option<DType>,
    /// The stored size of all parts.
    pub bytes: Bytes,
    /// Blocks of the diffusion network: units that can be placed on their own.
    pub blocks: usize,
    /// The size of pictures it was trained on, where the header says so (`modelspec.resolution`).
    pub resolution: Option<Size>,
    /// Whether the network predicts velocity, where the header says so.
    pub predicts_v: Option<bool>,
}

/// Describes the model that these sources make together, however it is stored. A part that several hold comes from the last.
pub fn describe(sources: &[Source]) -> Result<Description, FamilyError> {
    describe_with_parts(sources).map(|(description, _)| description)
}

/// Describes the same, and returns each part's tensors under our names beside it.
pub fn describe_with_parts(sources: &[Source]) -> Result<(Description, Vec<Catalog>), FamilyError> {
    describe_by(sources, outline)
}

/// Describes the same, and refuses what the engine cannot load.
pub fn describe_loadable(sources: &[Source]) -> Result<Description, FamilyError> {
    let (description, parts) = describe_by(sources, block_table)?;
    if description.family.is_some_and(Family::is_supported) {
        fit::check(|role| description.components.iter().position(|c| c.role == role).map(|at| &parts[at]))?;
    }
    Ok(description)
}

type Cut = fn(Role, &Catalog) -> Result<BlockTable, FamilyError>;

fn describe_by(sources: &[Source], cut: Cut) -> Result<(Description, Vec<Catalog>), FamilyError> {
    let (family, mut network) = match network(sources)? {
        Some((source, found)) => (Some((found.family, found.variant)), Some((source, found.catalog))),
        None => (None, None),
    };
    let roles = family.as_ref().map_or(Role::ALL, |(f, _)| f.roles());
    let (mut components, mut parts): (Vec<Component>, Vec<Catalog>) = (Vec::new(), Vec::new());
    let mut blocks = 0;
    for role in roles {
        // The network was found above.
        let held = if *role == Role::Denoiser { network.take() } else { find(sources, *role)? };
        let Some((source, catalog)) = held else { continue };
        // An encoder of a width that neither CLIP has can be either, and is no two parts.
        let is_told = |c: &Component| family.is_none() && c.role == Role::ClipL && *role == Role::ClipG && c.files == source.files;
        if components.iter().any(is_told) {
            continue;
        }
        let checked = family.as_ref().is_none_or(|(f, _)| f.is_supported());
        let (tensors, bytes) = if checked {
            let table = cut(*role, &catalog)?;
            if *role == Role::Denoiser {
                blocks = table.blocks().len();
            }
            (table.tensors(), table.whole())
        } else {
            (catalog.len(), catalog.bytes())
        };
        let precision = catalog.main_dtype().unwrap_or(DType::F32);
        components.push(Component { role: *role, precision, bytes, tensors, files: source.files.clone(), stored: None });
        parts.push(catalog);
    }
    if components.is_empty() {
        if let Some((found, tensor)) = sources.iter().find_map(|s| instead(&s.catalog)) {
            return Err(FamilyError::NoModel { found, tensor: tensor.to_owned() });
        }
        let tensors = sources.iter().map(|s| s.catalog.len()).sum();
        let first = sources.iter().find_map(|s| s.catalog.iter().next()).map(|e| e.name.clone());
        let says = sources.iter().find_map(|s| s.catalog.metadata().get("general.architecture")).map(|a| a.chars().take(64).collect());
        return Err(FamilyError::Unknown { tensors, first, says });
    }
    let missing = match family {
        Some(_) => roles.iter().copied().filter(|r| !components.iter().any(|c| c.role == *r)).collect(),
        None => Vec::new(),
    };
    let hint = |key: &str| sources.iter().find_map(|s| s.catalog.metadata().get(key));
    let (family, mut variant) = family.unzip();
    let mut could_be = Vec::new();
    if let (Some(family), Some(found)) = (family, &mut variant) {
        match hint("modelspec.title").and_then(|title| family.told(found, title)) {
            Some(told) => told.clone_into(found),
            None => could_be = family.twins(found).iter().filter(|twin| *twin != found).map(|twin| (*twin).to_owned()).collect(),
        }
    }
    let bytes = components.iter().map(|c| c.bytes).sum();
    let precision = components.iter().max_by_key(|c| c.bytes).map(|c| c.precision);
    let resolution = hint("modelspec.resolution").and_then(|text| text.parse().ok());
    let predicts_v = predicts_v(sources);
    Ok((Description { family, variant, components, could_be, missing, precision, bytes, blocks, resolution, predicts_v }, parts))
}

/// SDXL files mark velocity with a tensor of this name; the `ModelSpec` header field is a hint for all.
fn predicts_v(sources: &[Source]) -> Option<bool> {
    if sources.iter().any(|s| s.catalog.has("v_pred")) {
        return Some(true);
    }
    let hint = sources.iter().find_map(|s| s.catalog.metadata().get("modelspec.prediction_type"))?;
    match hint.as_str() {
        "v" | "v_prediction" => Some(true),
        "epsilon" | "eps" => Some(false),
        _ => None,
    }
}

/// Returns the last source that holds a diffusion network, and the network.
pub fn network(sources: &[Source]) -> Result<Option<(&Source, Found)>, FamilyError> {
    let mut last = None;
    for source in sources.iter().filter(|s| s.role.is_none_or(|r| r == Role::Denoiser)) {
        last = detect(&source.catalog)?.map(|found| (source, found)).or(last);
    }
    Ok(last)
}

/// Returns the last source that holds this part, and the part's tensors under our names.
pub fn find(sources: &[Source], role: Role) -> Result<Option<(&Source, Catalog)>, FamilyError> {
    for source in sources.iter().rev().filter(|s| s.role.is_none_or(|r| r == role)) {
        let Some(catalog) = extract(&source.catalog, role)? else { continue };
        // Where nobody said what a file is, its width tells encoders of one layout apart.
        if source.role.is_some() || clip::claims(role, &catalog) {
            return Ok(Some((source, catalog)));
        }
    }
    Ok(None)
}
