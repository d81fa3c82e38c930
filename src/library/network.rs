//! A diffusion network as the planner sees it, from the headers of its files.

use std::path::PathBuf;

use super::{LibraryError, sources};
use crate::families::cost::{Work, unet_efforts};
use crate::families::{Component, FamilyError, Role, UnetConfig, block_table, detect};
use crate::placement::{Model, Pace, Walk};
use crate::units::Bytes;
use crate::weights::{Block, BlockTable, Catalog, Precision};
use crate::workflow::ModelSet;

/// Sizes and blocks of a diffusion network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its sizes.
    pub config: UnetConfig,
    /// Its blocks.
    pub table: BlockTable,
}

impl Network {
    /// Reads the headers of exactly these files.
    pub fn read(files: &[PathBuf]) -> Result<Self, LibraryError> {
        let (catalog, table) = part(files, Role::Denoiser)?;
        let config = UnetConfig::read(&catalog).map_err(wrong(files))?;
        Ok(Self { config, table })
    }

    /// Reads it among these tensors, which a file holds or will hold.
    pub fn of(catalog: &Catalog, files: &[PathBuf]) -> Result<Self, LibraryError> {
        let catalog =
            detect::extract(catalog, Role::Denoiser).and_then(|c| c.ok_or_else(|| missing(Role::Denoiser))).map_err(wrong(files))?;
        let table = block_table(Role::Denoiser, &catalog).map_err(wrong(files))?;
        let config = UnetConfig::read(&catalog).map_err(wrong(files))?;
        Ok(Self { config, table })
    }

    /// Returns it as something to be placed.
    #[must_use]
    pub fn model(&self, work: Work, precision: Precision, pace: &Pace) -> Model {
        model(&self.config, &self.table, work, precision, pace)
    }

    /// Returns what one walk through it is, in a step of this work.
    #[must_use]
    pub fn walk(&self, work: Work) -> Walk {
        walk(&self.config, &self.table, work)
    }
}

/// Returns a network as something to be placed: the one way, for what is shown beforehand and for what is done.
#[must_use]
pub fn model(config: &UnetConfig, table: &BlockTable, work: Work, precision: Precision, pace: &Pace) -> Model {
    Model::of(table, &unet_efforts(config, table, work), work.walks, precision, pace)
}

/// Returns what one walk through a network is, in a step of this work.
#[must_use]
pub fn walk(config: &UnetConfig, table: &BlockTable, work: Work) -> Walk {
    Model::walk(table, &unet_efforts(config, table, work), work.walks)
}

/// Returns what the headers of these files say of one part, and its blocks.
pub fn part(files: &[PathBuf], role: Role) -> Result<(Catalog, BlockTable), LibraryError> {
    let source = sources::reopen(files, role)?;
    let catalog = detect::extract(&source.catalog, role).and_then(|c| c.ok_or_else(|| missing(role))).map_err(wrong(files))?;
    let table = block_table(role, &catalog).map_err(wrong(files))?;
    Ok((catalog, table))
}

/// Returns what the other parts of a set take where they are computed with, by the headers of their files.
pub fn beside(set: &ModelSet, role: Role, precision: Precision) -> Result<Bytes, LibraryError> {
    let others = set.components.iter().filter(|c| c.role != role);
    let bytes = |c: &Component| {
        let elements: u64 = part(&c.files, c.role)?.1.blocks().iter().map(Block::elements).sum();
        // The autoencoder is held in full precision everywhere.
        let each = if c.role == Role::Vae { Precision::Fp32.bytes() } else { precision.bytes() };
        Ok(Bytes(elements.saturating_mul(each)))
    };
    others.map(bytes).sum()
}

fn missing(role: Role) -> FamilyError {
    FamilyError::Missing { role, tensor: String::new() }
}

fn wrong(files: &[PathBuf]) -> impl Fn(FamilyError) -> LibraryError {
    let path = files.first().cloned().unwrap_or_default();
    move |source| LibraryError::Family { path: path.clone(), source }
}
