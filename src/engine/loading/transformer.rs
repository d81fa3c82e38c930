//! Puts a diffusion transformer and its weights together.

use std::path::PathBuf;

use super::Vault;
use super::assemble::Target;
use crate::engine::EngineError;
use crate::engine::models::transformer::Transformer;
use crate::engine::residency::Residency;
use crate::families::{DenoiserConfig, FamilyError, Role};
use crate::library::network;
use crate::placement::Model;

/// A diffusion transformer with its weights.
#[derive(Debug)]
pub struct LoadedTransformer {
    /// The structure.
    pub model: Transformer,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: DenoiserConfig,
}

impl LoadedTransformer {
    /// Loads a diffusion transformer from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table) = network::part(files, Role::Denoiser)?;
        let vault = Vault::open(files)?;
        let wrong = |source| EngineError::Family { path: files.first().cloned().unwrap_or_default(), source };
        let config = DenoiserConfig::read(&catalog).map_err(wrong)?;
        let model = Transformer::new(&config, &table).map_err(wrong)?;
        let model = model.ok_or_else(|| wrong(FamilyError::Unsupported { name: "UNet, and no transformer" }))?;
        let placing = target.placing(&table, |asked, pace| {
            Model::of(&table, &config.efforts(&table, asked.work), asked.work.walks, target.precision, pace)
        })?;
        let residency = Residency::load(Role::Denoiser, table, &vault, target, placing)?;
        Ok(Self { model, residency, config })
    }
}
