//! Puts a network and its weights together.

use std::path::PathBuf;
use std::sync::Arc;

use super::Vault;
use crate::engine::EngineError;
use crate::engine::cancel::CancelFlag;
use crate::engine::device::Compute;
use crate::engine::models::clip::ClipText;
use crate::engine::models::unet::Unet;
use crate::engine::models::vae::Vae;
use crate::engine::residency::{Placing, Residency};
use crate::families::{ClipConfig, FamilyError, Role, UnetConfig, VaeConfig, block_table, detect};
use crate::library::sources;
use crate::placement::OffloadPlan;
use crate::weights::{BlockTable, Catalog, Precision};

/// A diffusion network with its weights.
#[derive(Debug)]
pub struct LoadedUnet {
    /// The structure.
    pub model: Unet,
    /// The weights.
    pub residency: Residency,
}

/// A text encoder with its weights.
#[derive(Debug)]
pub struct LoadedClip {
    /// The structure.
    pub model: ClipText,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: ClipConfig,
}

/// An autoencoder with its weights.
#[derive(Debug)]
pub struct LoadedVae {
    /// The structure.
    pub model: Vae,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: VaeConfig,
}

/// How and where to load.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The device.
    pub compute: &'a Compute,
    /// What to hold the weights in.
    pub precision: Precision,
    /// Where the operator says to stop.
    pub cancel: &'a CancelFlag,
    /// Which blocks live elsewhere.
    pub offload: Offload<'a>,
}

/// Which blocks live elsewhere than on the compute device.
#[derive(Debug, Clone, Copy)]
pub enum Offload<'a> {
    /// None.
    Nothing,
    /// Those that a plan names.
    Exactly {
        /// Where each block lives.
        plan: &'a OffloadPlan,
        /// Staging slots.
        slots: usize,
    },
}

impl Target<'_> {
    fn placing(&self, table: &BlockTable) -> Placing<'static> {
        match self.offload {
            Offload::Nothing => Placing::all_resident(self.compute.id, table),
            Offload::Exactly { plan, slots } => Placing { plan: plan.clone(), slots, later: &[] },
        }
    }
}

impl LoadedUnet {
    /// Loads a diffusion network from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::Denoiser)?;
        let model = UnetConfig::read(&catalog).and_then(|config| Unet::new(&config, &table)).map_err(wrong(files))?;
        let placing = target.placing(&table);
        let residency = Residency::load(Role::Denoiser, table, &vault, target, placing)?;
        Ok(Self { model, residency })
    }
}

impl LoadedClip {
    /// Loads a text encoder from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::ClipL)?;
        let config = ClipConfig::read(&catalog).map_err(wrong(files))?;
        let model = ClipText::new(&config, &table).map_err(wrong(files))?;
        let placing = target.placing(&table);
        let residency = Residency::load(Role::ClipL, table, &vault, target, placing)?;
        Ok(Self { model, residency, config })
    }
}

impl LoadedVae {
    /// Loads an autoencoder from these files. Only a run that starts from a picture needs the encoder, two fifths of it;
    /// [`Residency::complete`] brings it.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::Vae)?;
        let config = VaeConfig::read(&catalog).map_err(wrong(files))?;
        let model = Vae::new(&config, &table).map_err(wrong(files))?;
        let placing = Placing { later: &[ENCODER], ..target.placing(&table) };
        let residency = Residency::load(Role::Vae, table, &vault, target, placing)?;
        Ok(Self { model, residency, config })
    }
}

/// The block of the autoencoder that makes latents.
const ENCODER: &str = "encoder";

fn open(files: &[PathBuf], role: Role) -> Result<(Catalog, BlockTable, Arc<Vault>), EngineError> {
    let source = sources::reopen(files, role)?;
    let missing = || FamilyError::Missing { role, tensor: String::new() };
    let catalog = detect::extract(&source.catalog, role).and_then(|c| c.ok_or_else(missing)).map_err(wrong(files))?;
    let table = block_table(role, &catalog).map_err(wrong(files))?;
    Ok((catalog, table, Vault::open(files)?))
}

fn wrong(files: &[PathBuf]) -> impl Fn(FamilyError) -> EngineError {
    let path = files.first().cloned().unwrap_or_default();
    move |source| EngineError::Family { path: path.clone(), source }
}
