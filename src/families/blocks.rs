//! Cuts a part's tensors into blocks, in order of execution.
//!
//! Units are as fine as one half of a ResNet, or attention or feed-forward of one transformer: small enough that staging
//! room for the largest is cheap. Neighbours that are not worth a copy of their own are one block.

use super::unet::Layer;
use super::{ClipConfig, DenoiserConfig, FamilyError, QwenConfig, Role, T5Config, UnetConfig, VaeConfig, clip, qwen, t5};
use crate::units::Bytes;
use crate::weights::{BlockTable, Catalog, Precision, Shape, TensorEntry, Unit};

/// Returns the block table of a part that the engine can load: its [`outline`], after checking how each tensor is stored.
pub fn block_table(role: Role, catalog: &Catalog) -> Result<BlockTable, FamilyError> {
    let table = outline(role, catalog)?;
    let entries = table.blocks().iter().flat_map(|b| &b.params).map(|p| &p.entry).chain(table_of(role).and_then(|t| table.gathered(t)));
    match entries.into_iter().find(|e| e.coded.is_none() && Precision::of(e.dtype).is_none()) {
        Some(e) => Err(FamilyError::UnloadableType { role, tensor: e.name.clone(), dtype: e.dtype }),
        None => Ok(table),
    }
}

/// Returns the block table of a part in canonical names, however it is stored, after checking every name and shape.
///
/// Tensors that the architecture does not use, such as `position_ids`, are left out.
pub fn outline(role: Role, catalog: &Catalog) -> Result<BlockTable, FamilyError> {
    let (units, expected) = match role {
        Role::Denoiser => {
            let denoiser = DenoiserConfig::read(catalog)?;
            (denoiser.units(), denoiser.expected())
        }
        Role::ClipL | Role::ClipG => {
            let clip = ClipConfig::read(role, catalog)?;
            let units = (0..clip.layers).map(|n| Unit::all_of(format!("text_model.encoder.layers.{n}"))).collect();
            (units, clip.expected())
        }
        Role::Vae => {
            let vae = VaeConfig::read(catalog)?;
            (vae.units(), vae.expected())
        }
        Role::T5 => {
            let t5 = T5Config::read(catalog)?;
            (t5.units(), t5.expected())
        }
        Role::Qwen => {
            let qwen = QwenConfig::read(catalog)?;
            (qwen.units(), qwen.expected())
        }
    };
    let (gathered, used) = select(role, catalog, &expected)?.parted(|name| table_of(role) == Some(name));
    let worth_a_copy = match role {
        // One of its halves is not even loaded by most runs, and both are worked through in stripes: what is done in one go is one block.
        Role::Vae => Bytes::ZERO,
        Role::Denoiser | Role::ClipL | Role::ClipG | Role::T5 | Role::Qwen => worth_a_copy(&used),
    };
    Ok(BlockTable::cut(&used, &units, worth_a_copy).with_gathered(gathered.iter().cloned()))
}

/// Returns the table of a text encoder of which rows are looked up.
fn table_of(role: Role) -> Option<&'static str> {
    match role {
        Role::ClipL | Role::ClipG => Some(clip::TOKENS),
        Role::T5 => Some(t5::TOKENS),
        Role::Qwen => Some(qwen::TOKENS),
        Role::Denoiser | Role::Vae => None,
    }
}

/// Returns what a copy should move at least: 16 MiB take well below a millisecond on a GPU's bus, about what starting a copy
/// and waiting for it may cost; small models are cut as finely as large ones.
fn worth_a_copy(catalog: &Catalog) -> Bytes {
    let whole: Bytes = catalog.iter().map(TensorEntry::bytes).sum();
    Bytes::mib(16).min(Bytes(whole.get() / 64))
}

/// Returns the unit of everything under some parts of a place.
pub(super) fn unit(at: &str, called: &str, parts: &[&str]) -> Unit {
    Unit { name: format!("{at}.{called}"), prefixes: parts.iter().map(|part| format!("{at}.{part}")).collect() }
}

pub(super) fn unet_units(unet: &UnetConfig) -> Vec<Unit> {
    let layers = unet.stages().flat_map(|s| s.layers.iter().enumerate().map(move |(place, layer)| (format!("{}.{place}", s.name), layer)));
    layers.flat_map(|(name, layer)| layer_units(&name, *layer)).collect()
}

fn layer_units(name: &str, layer: Layer) -> Vec<Unit> {
    let unit = |called: &str, parts: &[&str]| Unit {
        name: format!("{name}.{called}"),
        prefixes: parts.iter().map(|part| format!("{name}.{part}")).collect(),
    };
    match layer {
        // The first convolution stays in the head: it is small and every pass begins with it.
        Layer::ConvIn => Vec::new(),
        Layer::Resnet { .. } => {
            vec![unit("in_layers", &["in_layers", "emb_layers"]), unit("out_layers", &["out_layers", "skip_connection"])]
        }
        Layer::Transformer { depth, .. } => {
            let mut units: Vec<Unit> = (0..depth).flat_map(|k| transformer_units(name, k)).collect();
            let around = |parts: &[&str]| parts.iter().map(|part| format!("{name}.{part}")).collect::<Vec<_>>();
            if let Some(first) = units.first_mut() {
                first.prefixes.extend(around(&["norm", "proj_in"]));
            }
            if let Some(last) = units.last_mut() {
                last.prefixes.extend(around(&["proj_out"]));
            }
            units
        }
        Layer::Downsample { .. } | Layer::Upsample { .. } => vec![Unit::all_of(name)],
    }
}

fn transformer_units(name: &str, k: u64) -> [Unit; 2] {
    let unit = |called: &str, parts: &[&str]| Unit {
        name: format!("{name}.transformer_blocks.{k}.{called}"),
        prefixes: parts.iter().map(|part| format!("{name}.transformer_blocks.{k}.{part}")).collect(),
    };
    [unit("attn", &["norm1", "attn1", "norm2", "attn2"]), unit("ff", &["norm3", "ff"])]
}

/// Returns the expected tensors, or the first that is missing or misshapen.
fn select(role: Role, catalog: &Catalog, expected: &[(String, Shape)]) -> Result<Catalog, FamilyError> {
    let mut entries = Vec::with_capacity(expected.len());
    for (name, shape) in expected {
        let Some(entry) = catalog.get(name) else {
            return Err(FamilyError::Missing { role, tensor: name.clone() });
        };
        if !same_but_for_ones(&entry.shape, shape) {
            return Err(FamilyError::WrongShape { role, tensor: name.clone(), found: entry.shape.clone(), expected: shape.clone() });
        }
        entries.push(entry.clone());
    }
    Ok(Catalog::new(entries, catalog.metadata().clone()))
}

/// A matrix and a 1 × 1 convolution are the same numbers; files of different age store either.
fn same_but_for_ones(found: &Shape, expected: &Shape) -> bool {
    fn trimmed(mut extents: &[u64]) -> &[u64] {
        while let [rest @ .., 1] = extents
            && !rest.is_empty()
        {
            extents = rest;
        }
        extents
    }
    trimmed(&found.0) == trimmed(&expected.0)
}
