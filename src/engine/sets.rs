//! The model set that is loaded, kept between runs; parts that the next job needs again stay.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::Compute;
use super::loading::assemble::Target;
use super::loading::{Asked, Asks, LoadedDenoiser, LoadedEncoder, LoadedVae, Offload, PlacedVae};
use super::pipelines::text::{self, Conditioning};
use super::residency::{Residency, Traffic};
use crate::cache::Embeddings;
use crate::families::Role;
use crate::jobs::PartPlacement;
use crate::library::network;
use crate::placement::plan::total;
use crate::placement::{OffloadAsk, Share};
use crate::units::{Bytes, DeviceId};
use crate::weights::Precision;
use crate::wire::status::PartView;
use crate::wire::work::{LoadedSet, Placed};
use crate::workflow::{JobSpec, ModelSet, part_of};

/// What is loaded.
#[derive(Debug, Default)]
pub struct Sets {
    set: Option<(String, String)>,
    encoders: Vec<(Role, PartKey, LoadedEncoder)>,
    denoiser: Option<(PartKey, LoadedDenoiser)>,
    vae: Option<(PartKey, LoadedVae)>,
    /// An autoencoder that is loaded when it is needed, from the files that were there when the run began.
    opened_vae: Option<(PartKey, PlacedVae)>,
    conditioning: Option<(TextKey, Conditioning)>,
}

/// Files as they were when they were read, and the precision they are held in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PartKey {
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    precision: Precision,
    /// Changed where the operator wants weights to live elsewhere from the next step on.
    offload: RefCell<OffloadAsk>,
}

/// Everything that the text encoders' output depends on.
#[derive(Debug, Clone, PartialEq)]
struct TextKey {
    encoders: Vec<(Role, PartKey)>,
    variant: String,
    prompt: String,
    negative: Option<String>,
    dialect: crate::prompt::Dialect,
    weighting: crate::prompt::Weighting,
}

impl TextKey {
    fn of(spec: &JobSpec, encoders: &[(Role, PartKey)]) -> Self {
        Self {
            encoders: encoders.to_vec(),
            variant: spec.set.variant.clone(),
            prompt: spec.prompt.clone(),
            negative: spec.is_guided().then(|| spec.negative.clone()),
            dialect: spec.dialect,
            weighting: spec.weighting,
        }
    }
}

/// How the parts of a job are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Loading<'a> {
    /// The device.
    pub compute: &'a Compute,
    /// What is computed in.
    pub precision: Precision,
    /// Which blocks live elsewhere.
    pub asks: &'a Asks,
    /// Where the operator says to stop.
    pub cancel: &'a CancelFlag,
    /// What text encoders made of texts, where it is kept.
    pub texts: Option<&'a Embeddings>,
}

impl<'a> Loading<'a> {
    fn target(&self, role: Role) -> Target<'a> {
        let precision = network::held_in(role, self.precision);
        Target { compute: self.compute, precision, cancel: self.cancel, offload: self.asks.of(role) }
    }

    fn key(&self, set: &ModelSet, role: Role) -> Result<PartKey, EngineError> {
        let ask = self.asks.ask_of(role).cloned().unwrap_or_default();
        Ok(PartKey { offload: RefCell::new(ask), ..key(set, role, network::held_in(role, self.precision))? })
    }

    fn encoder_keys(&self, set: &ModelSet) -> Result<Vec<(Role, PartKey)>, EngineError> {
        let there = set.family.encoders().filter(|role| set.component(*role).is_some());
        there.map(|role| Ok((role, self.key(set, role)?))).collect()
    }
}

/// The parts that sampling works with.
#[derive(Debug)]
pub struct Ready<'a> {
    /// The diffusion network.
    pub denoiser: &'a LoadedDenoiser,
    /// Both prompts, read.
    pub conditioning: &'a Conditioning,
}

impl Sets {
    /// Loads the text encoders of a job, unless what they would say is known. What the job does not use is dropped first, to make
    /// room. Returns whether the text is still to be read.
    pub fn load_encoders(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<bool, EngineError> {
        let set = &spec.set;
        let wanted = how.encoder_keys(set)?;
        let (denoiser, vae) = (how.key(set, Role::Denoiser)?, how.key(set, Role::Vae)?);
        let before = self.encoders.len();
        self.encoders.retain(|(role, key, _)| wanted.iter().any(|(r, k)| r == role && k == key));
        let dropped = [self.encoders.len() < before, drop_other(&mut self.denoiser, &denoiser), drop_other(&mut self.vae, &vae)];
        if dropped.contains(&true) {
            // Pieces of another size would not fit into what they have left.
            how.compute.trim();
        }
        self.set = Some((set.name.clone(), set.family.name().to_owned()));
        let text = TextKey::of(spec, &wanted);
        if self.knows(&text) {
            return Ok(false);
        }
        if let Some(conditioning) = how.readings(spec)?.and_then(|kept| text::recall(spec, &kept)) {
            tracing::info!("both prompts were read before: no text encoder is needed");
            self.conditioning = Some((text, conditioning));
            return Ok(false);
        }
        for (role, key) in wanted {
            if self.encoder(role).is_none() {
                let loaded = LoadedEncoder::load(role, &paths(&key), set.vocabularies.get(&role), how.target(role))?;
                self.encoders.push((role, key, loaded));
            }
        }
        self.serve(how.cancel);
        Ok(true)
    }

    /// Loads the diffusion network, unless it is loaded, and finds places for the autoencoder. That comes later, see
    /// [`load_vae`](Self::load_vae).
    pub fn load_network(&mut self, set: &ModelSet, how: &Loading<'_>) -> Result<(), EngineError> {
        let (denoiser, vae) = (how.key(set, Role::Denoiser)?, how.key(set, Role::Vae)?);
        if self.denoiser.is_none() {
            let loaded = LoadedDenoiser::load(&paths(&denoiser), how.target(Role::Denoiser))?;
            self.denoiser = Some((denoiser, loaded));
        }
        self.opened_vae = match &self.vae {
            Some(_) => None,
            None => Some((vae.clone(), PlacedVae::open(&paths(&vae), how.target(Role::Vae))?)),
        };
        self.serve(how.cancel);
        self.check_unreplaced(set, &vae)
    }

    fn serve(&mut self, cancel: &CancelFlag) {
        for residency in self.residencies_mut() {
            residency.serve(cancel);
        }
    }

    fn knows(&self, text: &TextKey) -> bool {
        self.conditioning.as_ref().is_some_and(|(known, _)| known == text)
    }

    /// Has the diffusion network's weights live where a plan for this ask has them, between two steps. The next job that asks
    /// the same finds them there. Where that fails they live where they did.
    pub fn rebudget(&self, compute: &Compute, asked: &Asked, cancel: &CancelFlag) -> Result<(), EngineError> {
        let (key, denoiser) = self.denoiser.as_ref().ok_or_else(|| EngineError::not_loaded(Role::Denoiser))?;
        denoiser.rebudget(Target { compute, precision: key.precision, cancel, offload: Offload::of(asked) })?;
        key.offload.replace(asked.ask.clone());
        Ok(())
    }

    /// Fails where a file was replaced while the parts were opened one after the other: they are not of one model.
    fn check_unreplaced(&self, set: &ModelSet, vae: &PartKey) -> Result<(), EngineError> {
        let encoders = self.encoders.iter().map(|(role, key, _)| (*role, key));
        let denoiser = self.denoiser.iter().map(|(key, _)| (Role::Denoiser, key));
        for (role, opened) in encoders.chain(denoiser).chain([(Role::Vae, vae)]) {
            let now = key(set, role, opened.precision)?;
            if let Some(((path, ..), _)) = opened.files.iter().zip(&now.files).find(|(then, now)| then != now) {
                return Err(EngineError::Changed { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Loads the autoencoder, unless it is loaded: the first step need not wait for it.
    pub fn load_vae(&mut self, compute: &Compute, cancel: &CancelFlag) -> Result<(), EngineError> {
        if let Some((key, opened)) = self.opened_vae.clone() {
            let loaded = opened.load(Target { compute, precision: key.precision, cancel, offload: Offload::Nothing })?;
            self.vae = Some((key, loaded));
            self.opened_vae = None;
        }
        Ok(())
    }

    /// Lets go of the weights of such parts until they are asked for again. Returns the memory that becomes free.
    pub fn rest(&self, is_resting: impl Fn(Role) -> bool) -> Bytes {
        self.residencies().into_iter().filter(|(role, _)| is_resting(*role)).map(|(_, residency)| residency.rest()).sum()
    }

    /// Returns the autoencoder, once it is loaded.
    pub fn vae(&self) -> Result<&LoadedVae, EngineError> {
        self.vae.as_ref().map(|(_, vae)| vae).ok_or_else(|| EngineError::not_loaded(Role::Vae))
    }

    /// Reads both prompts, unless they are those of the run before.
    pub fn condition(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<(), EngineError> {
        let text = TextKey::of(spec, &how.encoder_keys(&spec.set)?);
        if !self.knows(&text) {
            let kept = how.readings(spec)?;
            let conditioning = text::condition(spec, &|role| self.ready_encoder(role), how.compute.device, kept.as_ref())?;
            self.conditioning = Some((text, conditioning));
        }
        Ok(())
    }

    /// Returns what the operator is told of how prompts were read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        self.conditioning.as_ref().map_or(&[], |(_, conditioning)| &conditioning.notes)
    }

    /// Returns what sampling works with, once it is loaded and read.
    pub fn ready(&self) -> Result<Ready<'_>, EngineError> {
        let denoiser = self.ready_denoiser()?;
        let conditioning = self.conditioning.as_ref().map(|(_, c)| c).ok_or_else(|| EngineError::not_loaded(Role::ClipL))?;
        Ok(Ready { denoiser, conditioning })
    }

    /// Returns the diffusion network, once it is loaded.
    pub fn ready_denoiser(&self) -> Result<&LoadedDenoiser, EngineError> {
        self.denoiser.as_ref().map(|(_, denoiser)| denoiser).ok_or_else(|| EngineError::not_loaded(Role::Denoiser))
    }

    fn ready_encoder(&self, role: Role) -> Result<&LoadedEncoder, EngineError> {
        self.encoder(role).ok_or_else(|| EngineError::not_loaded(role))
    }

    fn encoder(&self, role: Role) -> Option<&LoadedEncoder> {
        self.encoders.iter().find(|(r, ..)| *r == role).map(|(.., encoder)| encoder)
    }

    /// Returns what the network is held in.
    #[must_use]
    pub fn precision(&self) -> Option<Precision> {
        self.denoiser.as_ref().map(|(key, _)| key.precision)
    }

    /// Returns the block in use, for messages about a failure.
    #[must_use]
    pub fn place(&self, role: Role) -> String {
        let residency = self.residencies().into_iter().find(|(r, _)| *r == role);
        residency.map_or_else(|| role.name().to_owned(), |(_, residency)| residency.place())
    }

    /// Returns what each part holds of a device, its staging memory counted where that is the one that computes.
    #[must_use]
    pub fn holders(&self, compute: DeviceId) -> Vec<(Role, Bytes)> {
        let of = |residency: &Residency| residency.measured().iter().filter(|s| s.device == compute).map(|s| s.bytes).sum::<Bytes>();
        self.residencies().into_iter().map(|(role, r)| (role, of(r) + r.staging())).collect()
    }

    /// Returns the bytes that plans put on each device.
    #[must_use]
    pub fn asked(&self) -> Vec<Share> {
        total(&self.residencies().iter().map(|(_, r)| r.asked()).collect::<Vec<_>>())
    }

    /// Returns the bytes that are on each device.
    #[must_use]
    pub fn measured(&self) -> Vec<Share> {
        total(&self.residencies().iter().map(|(_, r)| r.measured()).collect::<Vec<_>>())
    }

    /// Returns how much of the weights lies in the page cache and not in memory of this process.
    #[must_use]
    pub fn in_map(&self) -> Bytes {
        self.residencies().iter().map(|(_, r)| r.in_map()).sum()
    }

    /// Returns how long weights have been brought to the compute device since this was last asked.
    #[must_use]
    pub fn take_bringing(&self) -> Duration {
        self.residencies().iter().map(|(_, r)| r.take_bringing()).sum()
    }

    /// Fails where somebody wrote into a file whose bytes are computed with.
    pub fn check_files(&self) -> Result<(), EngineError> {
        self.residencies().iter().try_for_each(|(_, r)| r.check_files())
    }

    /// Returns the memory of the compute device through which blocks are streamed.
    #[must_use]
    pub fn staging(&self) -> Bytes {
        self.residencies().iter().map(|(_, r)| r.staging()).sum()
    }

    /// Returns for each part what its plan puts on each device and what is there.
    #[must_use]
    pub fn by_part(&self) -> Vec<(Role, Vec<Share>, Vec<Share>)> {
        self.residencies().into_iter().map(|(role, r)| (role, r.asked(), r.measured())).collect()
    }

    /// Forgets what was streamed so far.
    pub fn forget_traffic(&self) {
        for (_, residency) in self.residencies() {
            let _before: Traffic = residency.take_traffic();
        }
    }

    /// Returns where each part was in a run in which so much of the diffusion network was streamed, and what was streamed of the
    /// others since it was forgotten.
    #[must_use]
    pub fn placements(&self, streamed: Bytes) -> Vec<PartPlacement> {
        let of_part = |(role, residency): (Role, &Residency)| PartPlacement {
            part: part_of(role),
            asked: residency.asked(),
            measured: residency.measured(),
            streamed_bytes: if role == Role::Denoiser { streamed } else { residency.take_traffic().bytes() },
            staging: residency.staging(),
        };
        self.residencies().into_iter().map(of_part).collect()
    }

    /// Returns the loaded set for screens.
    #[must_use]
    pub fn view(&self) -> Option<LoadedSet> {
        let (name, family) = self.set.clone()?;
        let precision = |role| network::held_in(role, self.precision().unwrap_or(Precision::Fp32));
        let parts = self.residencies().into_iter().flat_map(|(role, residency)| {
            let asked = residency.asked();
            let planned = move |device| asked.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
            residency.measured().into_iter().map(move |share| PartView {
                role,
                precision: precision(role).name().to_owned(),
                planned: planned(share.device),
                bytes: share.bytes,
                device: share.device,
            })
        });
        let placed = |(key, denoiser): &(PartKey, LoadedDenoiser)| Placed {
            files: paths(key),
            precision: key.precision,
            ask: key.offload.borrow().clone(),
            plan: denoiser.residency.plan().clone(),
        };
        let placed = self.denoiser.as_ref().map(placed).map(Box::new);
        Some(LoadedSet { name, family, parts: parts.collect(), placed })
    }

    fn residencies(&self) -> Vec<(Role, &Residency)> {
        let denoiser = self.denoiser.iter().map(|(_, d)| (Role::Denoiser, &d.residency));
        let encoders = self.encoders.iter().map(|(role, _, e)| (*role, e.residency()));
        let vae = self.vae.iter().map(|(_, v)| (Role::Vae, &v.residency));
        denoiser.chain(encoders).chain(vae).collect()
    }

    fn residencies_mut(&mut self) -> impl Iterator<Item = &mut Residency> {
        let denoiser = self.denoiser.iter_mut().map(|(_, d)| &mut d.residency);
        let encoders = self.encoders.iter_mut().map(|(.., e)| e.residency_mut());
        let vae = self.vae.iter_mut().map(|(_, v)| &mut v.residency);
        denoiser.chain(encoders).chain(vae)
    }
}

/// Drops what is not wanted, and returns whether that was anything.
fn drop_other<T>(slot: &mut Option<(PartKey, T)>, wanted: &PartKey) -> bool {
    slot.take_if(|(key, _)| key != wanted).is_some()
}

fn key(set: &ModelSet, role: Role, precision: Precision) -> Result<PartKey, EngineError> {
    let component = set.component(role).ok_or_else(|| EngineError::not_loaded(role))?;
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).map_err(|e| crate::library::LibraryError::io(path, "looking at it", e))?;
        Ok((path.clone(), metadata.len(), metadata.modified().ok()))
    };
    Ok(PartKey { files: component.files.iter().map(stamp).collect::<Result<_, EngineError>>()?, precision, offload: RefCell::default() })
}

fn paths(key: &PartKey) -> Vec<PathBuf> {
    key.files.iter().map(|(path, _, _)| path.clone()).collect()
}
