//! A part that is loaded: once, however many sets use it.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::EngineError;
use super::loading::{LoadedDenoiser, LoadedEncoder, LoadedVae};
use super::residency::Residency;
use crate::families::Role;
use crate::library::LibraryError;
use crate::placement::{OffloadAsk, Share};
use crate::quant::detect;
use crate::tokens::vocabulary::Place;
use crate::units::{Bytes, DeviceId};
use crate::weights::Precision;
use crate::wire::status::PartView;
use crate::workflow::ModelSet;

/// What a part is: files as they were when they were read, and the precision they are held in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    /// What it is held in.
    pub precision: Precision,
    /// Where the words are that a text encoder knows.
    words: Option<Place>,
}

impl Content {
    /// Looks at the files of a set's part.
    pub fn of(set: &ModelSet, role: Role, precision: Precision) -> Result<Self, EngineError> {
        let component = set.component(role).ok_or_else(|| EngineError::not_loaded(role))?;
        let files = component.files.iter().map(stamp).collect::<Result<_, _>>()?;
        Ok(Self { files, precision, words: set.vocabularies.get(&role).cloned() })
    }

    /// Returns the files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, ..)| path.clone()).collect()
    }

    /// Returns a file that is no longer as it was.
    #[must_use]
    pub fn changed(&self) -> Option<&PathBuf> {
        let is_other = |seen: &&(PathBuf, u64, Option<SystemTime>)| stamp(&seen.0).map_or(true, |now| now != **seen);
        self.files.iter().find(is_other).map(|(path, ..)| path)
    }

    /// Returns whether both would be the same if their files were.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.precision == other.precision && self.words == other.words
    }
}

fn stamp(path: &PathBuf) -> Result<(PathBuf, u64, Option<SystemTime>), LibraryError> {
    let metadata = fs::metadata(path).map_err(|e| LibraryError::io(path, "looking at it", e))?;
    Ok((path.clone(), metadata.len(), metadata.modified().ok()))
}

/// A part with its weights, whatever it is.
#[derive(Debug)]
pub enum Loaded {
    /// A diffusion network.
    Denoiser(Box<LoadedDenoiser>),
    /// A text encoder.
    Encoder(Box<LoadedEncoder>),
    /// An autoencoder.
    Vae(Box<LoadedVae>),
}

/// A part that is loaded.
#[derive(Debug)]
pub struct Piece {
    /// Counts all that were ever loaded.
    pub copy: u64,
    /// What it does.
    pub role: Role,
    /// What it is.
    pub content: Content,
    /// What most of its bytes stay stored as, or what it is computed in.
    held: String,
    /// Changed where the operator wants weights to live elsewhere from the next step on.
    pub ask: RefCell<OffloadAsk>,
    /// Itself.
    pub model: Loaded,
}

impl Piece {
    /// Returns a part that was just loaded.
    #[must_use]
    pub fn new(copy: u64, role: Role, content: Content, ask: OffloadAsk, model: Loaded) -> Self {
        let computed_in = content.precision.name().to_owned();
        let piece = Self { copy, role, content, held: computed_in, ask: RefCell::new(ask), model };
        let held = detect::held(piece.residency().table().stored().into_iter().map(|(_, entry)| entry));
        Self { held: held.unwrap_or_else(|| piece.held.clone()), ..piece }
    }

    /// Returns where its weights are.
    #[must_use]
    pub fn residency(&self) -> &Residency {
        match &self.model {
            Loaded::Denoiser(denoiser) => &denoiser.residency,
            Loaded::Encoder(encoder) => encoder.residency(),
            Loaded::Vae(vae) => &vae.residency,
        }
    }

    /// Returns the same, to be changed.
    pub fn residency_mut(&mut self) -> &mut Residency {
        match &mut self.model {
            Loaded::Denoiser(denoiser) => &mut denoiser.residency,
            Loaded::Encoder(encoder) => encoder.residency_mut(),
            Loaded::Vae(vae) => &mut vae.residency,
        }
    }

    /// Returns what becomes free of a device without it: what lies in the page cache is not its own.
    #[must_use]
    pub fn own_on(&self, device: DeviceId, compute: DeviceId) -> Bytes {
        if device == compute {
            return self.residency().own();
        }
        self.residency().measured().iter().filter(|s| s.device == device).map(|s| s.bytes).sum()
    }

    /// Returns it for screens, once for each device that holds some of it or was to.
    #[must_use]
    pub fn views(&self) -> Vec<PartView> {
        let residency = self.residency();
        let (asked, mut measured) = (residency.asked(), residency.measured());
        let without: Vec<Share> = asked.iter().filter(|a| measured.iter().all(|m| m.device != a.device)).copied().collect();
        measured.extend(without.into_iter().map(|share| Share { bytes: Bytes::ZERO, ..share }));
        let compute = residency.plan().compute;
        let planned = |device| asked.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
        let view = |share: Share| PartView {
            role: self.role,
            copy: self.copy,
            precision: self.held.clone(),
            planned: planned(share.device),
            bytes: share.bytes,
            cached: if share.device == compute { residency.in_map() } else { Bytes::ZERO },
            device: share.device,
        };
        measured.into_iter().map(view).collect()
    }
}
