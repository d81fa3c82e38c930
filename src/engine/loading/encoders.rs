//! Text encoders and their weights, put together.

use std::path::PathBuf;
use std::sync::Arc;

use super::Vault;
use super::assemble::{Target, open, wrong};
use crate::engine::EngineError;
use crate::engine::models::clip::ClipText;
use crate::engine::models::qwen::QwenEncoder;
use crate::engine::models::t5::T5Encoder;
use crate::engine::residency::Residency;
use crate::families::{ClipConfig, FamilyError, QwenConfig, Role, T5Config};
use crate::library::vocabulary;
use crate::tokens::vocabulary::Place;
use crate::tokens::{Vocabulary, VocabularyKind};
use crate::weights::BlockTable;

/// CLIP's text encoder with its weights.
#[derive(Debug)]
pub struct LoadedClip {
    /// The structure.
    pub model: ClipText,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: ClipConfig,
}

/// T5's encoder with its weights.
#[derive(Debug)]
pub struct LoadedT5 {
    /// The structure.
    pub model: T5Encoder,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: T5Config,
}

/// Qwen3 with the weights of the layers that are used.
#[derive(Debug)]
pub struct LoadedQwen {
    /// The structure.
    pub model: QwenEncoder,
    /// The weights.
    pub residency: Residency,
    /// Its sizes.
    pub config: QwenConfig,
}

impl LoadedClip {
    /// Loads the encoder of this part from these files.
    pub fn load(role: Role, files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, role)?;
        let config = ClipConfig::read(role, &catalog).map_err(wrong(files))?;
        let model = ClipText::new(&config, &table).map_err(wrong(files))?;
        Ok(Self { model, residency: residency(role, table, &vault, target)?, config })
    }
}

impl LoadedT5 {
    /// Loads T5's encoder from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::T5)?;
        let config = T5Config::read(&catalog).map_err(wrong(files))?;
        let model = T5Encoder::new(&config, &table).map_err(wrong(files))?;
        Ok(Self { model, residency: residency(Role::T5, table, &vault, target)?, config })
    }
}

impl LoadedQwen {
    /// Loads Qwen3 from these files.
    pub fn load(files: &[PathBuf], target: Target<'_>) -> Result<Self, EngineError> {
        let (catalog, table, vault) = open(files, Role::Qwen)?;
        let config = QwenConfig::read(&catalog).map_err(wrong(files))?;
        let model = QwenEncoder::new(&config, &table).map_err(wrong(files))?;
        Ok(Self { model, residency: residency(Role::Qwen, table, &vault, target)?, config })
    }
}

/// Brings an encoder's weights to their places.
fn residency(role: Role, table: BlockTable, vault: &Arc<Vault>, target: Target<'_>) -> Result<Residency, EngineError> {
    let placing = target.placing_once(role, &table)?;
    Residency::load(role, table, vault, target, placing)
}

/// A text encoder of any kind with its weights, and the words that it knows where they are not its program's.
#[derive(Debug)]
pub enum LoadedEncoder {
    /// The text half of a CLIP.
    Clip(LoadedClip),
    /// T5's encoder.
    T5(LoadedT5, Vocabulary),
    /// Qwen3.
    Qwen(LoadedQwen, Vocabulary),
}

impl LoadedEncoder {
    /// Loads the encoder of this role from these files, and its words from their place.
    pub fn load(role: Role, files: &[PathBuf], words: Option<&Place>, target: Target<'_>) -> Result<Self, EngineError> {
        let vocabulary = |kind: VocabularyKind| match words {
            Some(place) => Ok(vocabulary::read(kind, place)?),
            None => Err(wrong(files)(FamilyError::Missing { role, tensor: format!("vocabulary of {kind}") })),
        };
        match role {
            Role::ClipL | Role::ClipG => LoadedClip::load(role, files, target).map(Self::Clip),
            Role::T5 => Ok(Self::T5(LoadedT5::load(files, target)?, vocabulary(VocabularyKind::T5)?)),
            Role::Qwen => Ok(Self::Qwen(LoadedQwen::load(files, target)?, vocabulary(VocabularyKind::Qwen)?)),
            Role::Denoiser | Role::Vae => Err(wrong(files)(FamilyError::Unsupported { name: role.name() })),
        }
    }

    /// Returns where its weights are.
    #[must_use]
    pub fn residency(&self) -> &Residency {
        match self {
            Self::Clip(clip) => &clip.residency,
            Self::T5(t5, _) => &t5.residency,
            Self::Qwen(qwen, _) => &qwen.residency,
        }
    }

    /// Returns the same, to be changed.
    pub fn residency_mut(&mut self) -> &mut Residency {
        match self {
            Self::Clip(clip) => &mut clip.residency,
            Self::T5(t5, _) => &mut t5.residency,
            Self::Qwen(qwen, _) => &mut qwen.residency,
        }
    }
}
