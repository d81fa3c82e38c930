//! A diffusion network as the planner sees it, from the headers of its files.

use std::path::{Path, PathBuf};

use super::{LibraryError, sources};
use crate::families::absence::absent;
use crate::families::cost::{Work, weight_efforts};
use crate::families::{Component, DenoiserConfig, FamilyError, Role, block_table, detect};
use crate::placement::{Machine, Model, OffloadAsk, Pace, Room, Walk, propose};
use crate::units::{Bytes, DeviceId};
use crate::weights::{BlockTable, Catalog, Precision};
use crate::workflow::JobSpec;

/// Sizes and blocks of a diffusion network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its sizes.
    pub config: DenoiserConfig,
    /// Its blocks.
    pub table: BlockTable,
}

impl Network {
    /// Reads the headers of exactly these files.
    pub fn read(files: &[PathBuf]) -> Result<Self, LibraryError> {
        let (catalog, table) = part(files, Role::Denoiser)?;
        let config = DenoiserConfig::read(&catalog).map_err(wrong(files))?;
        Ok(Self { config, table })
    }

    /// Reads it among these tensors, which a file holds or will hold.
    pub fn of(catalog: &Catalog, files: &[PathBuf]) -> Result<Self, LibraryError> {
        let catalog = detect::extract(catalog, Role::Denoiser)
            .and_then(|c| c.ok_or_else(|| absent(Role::Denoiser, catalog)))
            .map_err(wrong(files))?;
        let table = block_table(Role::Denoiser, &catalog).map_err(wrong(files))?;
        let config = DenoiserConfig::read(&catalog).map_err(wrong(files))?;
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
pub fn model(config: &DenoiserConfig, table: &BlockTable, work: Work, precision: Precision, pace: &Pace) -> Model {
    let efforts = config.efforts(table, work);
    let seen = pace.beyond(&Model::walk(table, &efforts, work.walks));
    let activations = seen.unwrap_or_else(|| config.activations(work, precision));
    Model { activations, ..Model::of(table, &efforts, work.walks, precision, pace) }
}

/// Returns what one walk through a network is, in a step of this work.
#[must_use]
pub fn walk(config: &DenoiserConfig, table: &BlockTable, work: Work) -> Walk {
    Model::walk(table, &config.efforts(table, work), work.walks)
}

/// Returns what the headers of these files say of one part, and its blocks.
pub fn part(files: &[PathBuf], role: Role) -> Result<(Catalog, BlockTable), LibraryError> {
    let source = sources::reopen(files, role)?;
    let catalog =
        detect::extract(&source.catalog, role).and_then(|c| c.ok_or_else(|| absent(role, &source.catalog))).map_err(wrong(files))?;
    let table = block_table(role, &catalog).map_err(wrong(files))?;
    Ok((catalog, table))
}

/// Returns what a part is held in where a run computes in this.
#[must_use]
pub fn held_in(role: Role, precision: Precision) -> Precision {
    match role {
        // In 16 bits its decoder costs visible steps of grey.
        Role::Vae => Precision::Fp32,
        Role::Denoiser | Role::ClipL | Role::ClipG | Role::T5 | Role::Qwen => precision,
    }
}

/// Returns a part that a run uses once as something to be placed: how long that takes matters to nobody.
#[must_use]
pub fn used_once(table: &BlockTable, held_in: Precision, pace: &Pace) -> Model {
    Model::of(table, &weight_efforts(table), 1, held_in, pace)
}

/// Returns what the other parts of a job take where they are computed with, by the headers of their files and by what is asked
/// of them.
pub fn beside(spec: &JobSpec, role: Role, precision: Precision) -> Result<Bytes, LibraryError> {
    needs(spec, precision, |other| other != role)
}

/// Returns what such parts of a job take where they are computed with.
pub fn needs(spec: &JobSpec, precision: Precision, is_wanted: impl Fn(Role) -> bool) -> Result<Bytes, LibraryError> {
    let others = spec.set.components.iter().filter(|c| is_wanted(c.role));
    let bytes = |c: &Component| {
        let table = part(&c.files, c.role)?.1;
        Ok(kept(&used_once(&table, held_in(c.role, precision), &Pace::assumed(spec.compute)), &spec.ask_of(c.role), spec.compute))
    };
    others.map(bytes).sum()
}

/// What of a part stays where it is computed with, and what it streams through, wherever there is room for all of it.
fn kept(model: &Model, ask: &OffloadAsk, compute: DeviceId) -> Bytes {
    let all = Bytes(u64::MAX);
    let room = |device| Room { device, total: all, free: all, reserve: Bytes::ZERO, committed: Bytes::ZERO };
    let rooms = ask.devices(compute).into_iter().chain([compute]).map(room).collect();
    let Some(planned) =
        Some(ask).filter(|ask| !ask.is_nothing()).map(|ask| propose(ask, compute, model, &Machine { rooms, ..Machine::default() }))
    else {
        return model.bytes();
    };
    // What cannot be had is refused where it is planned.
    planned.map_or(model.bytes(), |planned| {
        let here = model.units.iter().zip(&planned.plan.homes).filter(|(_, home)| **home == compute);
        here.map(|(unit, _)| unit.bytes).sum::<Bytes>() + planned.staging
    })
}

fn wrong(files: &[PathBuf]) -> impl Fn(FamilyError) -> LibraryError + use<> {
    LibraryError::of_tensors(files.first().map_or(Path::new(""), PathBuf::as_path))
}
