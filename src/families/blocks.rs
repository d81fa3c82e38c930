//! Cuts a part's tensors into blocks, in order of execution.
//!
//! Units are as fine as one ResNet or one spatial transformer: small enough that a staging slot for
//! the largest is cheap, large enough that a copy is worth its launch.

use super::unet::Layer;
use super::{ClipConfig, FamilyError, Role, UnetConfig, VaeConfig};
use crate::weights::{BlockTable, Catalog, Shape};

/// Returns the block table of a part in canonical names, after checking every name and shape.
///
/// Tensors that the architecture does not use, such as `position_ids`, are left out.
pub fn block_table(role: Role, catalog: &Catalog) -> Result<BlockTable, FamilyError> {
    let (units, expected) = match role {
        Role::Denoiser => {
            let unet = UnetConfig::read(catalog)?;
            (unet_units(&unet), unet.expected())
        }
        Role::ClipL => {
            let clip = ClipConfig::read(catalog)?;
            let units = (0..clip.layers).map(|n| format!("text_model.encoder.layers.{n}")).collect();
            (units, clip.expected())
        }
        Role::Vae => {
            let vae = VaeConfig::read(catalog)?;
            (vec!["encoder".to_owned(), "decoder".to_owned()], vae.expected())
        }
        Role::ClipG | Role::T5 | Role::Qwen => return Err(FamilyError::Unsupported { name: role.name() }),
    };
    let used = select(role, catalog, &expected)?;
    Ok(BlockTable::cut(&used, &units))
}

fn unet_units(unet: &UnetConfig) -> Vec<String> {
    let layers = unet.stages().flat_map(|s| s.layers.iter().enumerate().map(move |(place, layer)| (format!("{}.{place}", s.name), layer)));
    // The first convolution stays in the head: it is small and every pass begins with it.
    layers.filter(|(_, layer)| **layer != Layer::ConvIn).map(|(name, _)| name).collect()
}

/// Returns the expected tensors, or the first that is missing, misshapen or unloadable.
fn select(role: Role, catalog: &Catalog, expected: &[(String, Shape)]) -> Result<Catalog, FamilyError> {
    let mut entries = Vec::with_capacity(expected.len());
    for (name, shape) in expected {
        let Some(entry) = catalog.get(name) else {
            return Err(FamilyError::Missing { role, tensor: name.clone() });
        };
        if !same_but_for_ones(&entry.shape, shape) {
            return Err(FamilyError::WrongShape { role, tensor: name.clone(), found: entry.shape.clone(), expected: shape.clone() });
        }
        if crate::weights::Precision::of(entry.dtype).is_none() {
            return Err(FamilyError::UnloadableType { role, tensor: name.clone(), dtype: entry.dtype });
        }
        entries.push(entry.clone());
    }
    Ok(Catalog::new(entries, catalog.metadata().clone()))
}

/// A matrix and a 1 × 1 convolution are the same numbers; files of different age store either.
fn same_but_for_ones(found: &Shape, expected: &Shape) -> bool {
    let trimmed = |s: &Shape| {
        let mut extents = s.0.clone();
        while extents.len() > 1 && extents.last() == Some(&1) {
            extents.pop();
        }
        extents
    };
    trimmed(found) == trimmed(expected)
}
