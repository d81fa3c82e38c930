//! Puts a network and its weights together.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Vault, norms};
use crate::engine::EngineError;
use crate::engine::cancel::CancelFlag;
use crate::engine::device::Compute;
use crate::engine::models::denoiser::DenoiserModel;
use crate::engine::models::vae::Vae;
use crate::engine::residency::{Placing, Residency};
use crate::families::cost::Work;
use crate::families::{DenoiserConfig, FamilyError, Role, VaeConfig};
use crate::library::network;
use crate::placement::propose::{expect, smallest};
use crate::placement::{Machine, Model, OffloadAsk, OffloadPlan, Pace, Predicted, Walk, advice, propose};
use crate::units::Bytes;
use crate::weights::{BlockTable, Catalog, Precision};

/// A diffusion network with its weights.
#[derive(Debug)]
pub struct LoadedDenoiser {
    /// The structure.
    pub model: DenoiserModel,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: DenoiserConfig,
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

/// An autoencoder whose weights have their places and are still to come, from the files that were there when it was opened.
#[derive(Debug, Clone)]
pub struct PlacedVae {
    model: Vae,
    config: VaeConfig,
    table: BlockTable,
    vault: Arc<Vault>,
    placing: Placing<'static>,
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
        /// Staging memory, as weights are stored.
        staging: Bytes,
    },
    /// Those that the planner chooses.
    Asked(&'a Asked),
}

/// What is asked of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What is to live where.
    pub ask: OffloadAsk,
    /// What there is.
    pub machine: Machine,
    /// What the network will be given.
    pub work: Work,
}

/// What is asked of the planner for each part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asks(pub Vec<(Role, Asked)>);

impl Asks {
    /// Returns what an ask for a part leads to.
    #[must_use]
    pub fn of(&self, role: Role) -> Offload<'_> {
        self.get(role).map_or(Offload::Nothing, Offload::of)
    }

    /// Returns what is to live where of a part.
    #[must_use]
    pub fn ask_of(&self, role: Role) -> Option<&OffloadAsk> {
        self.get(role).map(|asked| &asked.ask)
    }

    /// Returns what is asked for a part.
    #[must_use]
    pub fn get(&self, role: Role) -> Option<&Asked> {
        self.0.iter().find(|(of, _)| *of == role).map(|(_, asked)| asked)
    }
}

impl<'a> Offload<'a> {
    /// Returns what an ask leads to: where nothing is asked, nothing is planned.
    #[must_use]
    pub fn of(asked: &'a Asked) -> Self {
        if asked.ask.is_nothing() { Self::Nothing } else { Self::Asked(asked) }
    }
}

impl Target<'_> {
    /// Returns where the blocks go of a part that is `model` for an ask; what virtual VRAM would do is known of the network alone.
    fn placing(&self, role: Role, table: &BlockTable, model: impl FnOnce(&Asked, &Pace) -> Model) -> Result<Placing<'static>, EngineError> {
        match self.offload {
            Offload::Nothing => Ok(Placing::all_resident(self.compute.id, table)),
            Offload::Exactly { plan, staging } => {
                Ok(Placing { plan: plan.clone(), staging, ..Placing::all_resident(self.compute.id, table) })
            }
            Offload::Asked(asked) => {
                let compute = self.compute.id;
                let model = model(asked, &asked.machine.pace);
                let planned = propose(&asked.ask, compute, &model, &asked.machine).map_err(|error| EngineError::Placing {
                    least: Some(role)
                        .filter(|r| *r == Role::Denoiser)
                        .and_then(|_| smallest(&asked.ask, compute, &model, &asked.machine).ok()),
                    error: Box::new(error),
                })?;
                let kept = asked.ask.pins.iter().filter(|(_, device)| *device == compute).map(|(block, _)| block).collect();
                let ring = planned.staging.saturating_sub(model.scratch(&planned.plan));
                let misses = advice::misses(&planned, &asked.ask, &model, &asked.machine);
                Ok(Placing { staging: ring, plan: planned.plan, later: &[], kept, misses })
            }
        }
    }

    /// Returns where the blocks go of a part that every run uses once: how long that takes matters to nobody.
    pub(super) fn placing_once(&self, role: Role, table: &BlockTable) -> Result<Placing<'static>, EngineError> {
        self.placing(role, table, |_, pace| network::used_once(table, self.precision, pace))
    }
}

impl LoadedDenoiser {
    /// Loads a diffusion network from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::Denoiser)?;
        let config = DenoiserConfig::read(&catalog).map_err(wrong(files))?;
        let model = DenoiserModel::new(&config, &table).map_err(wrong(files))?;
        let placing = placing_of(&config, &table, target)?;
        let residency = Residency::load(Role::Denoiser, table, &vault, target, placing)?;
        Ok(Self { model, residency, config })
    }

    /// Has the blocks live where a plan for this ask has them, between two steps.
    pub fn rebudget(&self, target: Target<'_>) -> Result<(), EngineError> {
        self.residency.rebudget(&placing_of(&self.config, self.residency.table(), target)?)
    }

    /// Returns what one walk through it is, in a step of this work.
    #[must_use]
    pub fn walk(&self, work: Work) -> Walk {
        network::walk(&self.config, self.residency.table(), work)
    }

    /// Returns what a step of this work is expected to take where the blocks are now.
    #[must_use]
    pub fn expect(&self, work: Work, precision: Precision, machine: &Machine) -> Predicted {
        let (table, plan) = (self.residency.table(), self.residency.plan());
        let model = network::model(&self.config, table, work, precision, &machine.pace);
        expect(&plan, &model, machine, self.staging()).predicted
    }

    /// Returns the memory that blocks pass through, once it is taken.
    #[must_use]
    pub fn staging(&self) -> Option<Bytes> {
        Some(self.residency.staging()).filter(|staging| *staging > Bytes::ZERO)
    }
}

fn placing_of(config: &DenoiserConfig, table: &BlockTable, target: Target<'_>) -> Result<Placing<'static>, EngineError> {
    target.placing(Role::Denoiser, table, |asked, pace| network::model(config, table, asked.work, target.precision, pace))
}

impl PlacedVae {
    /// Opens an autoencoder's files and finds places for its weights: what cannot be had is an error before the first step. Only a
    /// run that starts from a picture needs the encoder, two fifths of it.
    pub fn open(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::Vae)?;
        let config = VaeConfig::read(&catalog).map_err(wrong(files))?;
        let model = Vae::new(&config, &table).map_err(wrong(files))?;
        let placing = Placing { later: &[ENCODER], ..target.placing_once(Role::Vae, &table)? };
        Ok(Self { model, config, table, vault, placing })
    }

    /// Loads it to its places.
    pub fn load(self, target: Target<'_>) -> Result<LoadedVae, EngineError> {
        let Self { model, config, table, vault, placing } = self;
        let residency = Residency::load(Role::Vae, table, &vault, target, placing)?;
        Ok(LoadedVae { model, residency, config })
    }
}

impl LoadedVae {
    /// Loads an autoencoder from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        PlacedVae::open(files, target)?.load(target)
    }
}

/// What the names of the autoencoder's blocks begin with that make latents.
const ENCODER: &str = "encoder.";

/// Reads the headers of a part, opens its files, and looks at its norms.
pub(super) fn open(files: &[PathBuf], role: Role) -> Result<(Catalog, BlockTable, Arc<Vault>), EngineError> {
    let (catalog, table) = network::part(files, role)?;
    let vault = Vault::open(files)?;
    norms::check(role, &table, &vault)?;
    Ok((catalog, table, vault))
}

pub(super) fn wrong(files: &[PathBuf]) -> impl Fn(FamilyError) -> EngineError {
    let path = files.first().cloned().unwrap_or_default();
    move |source| EngineError::Family { path: path.clone(), source }
}
