//! The model set that is loaded, kept between runs; parts that the next job needs again stay.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::Compute;
use super::loading::assemble::Target;
use super::loading::{Asked, Asks, LoadedClip, LoadedUnet, LoadedVae, Offload, PlacedVae};
use super::pipelines::sd15::{self, Conditioning};
use super::residency::{Residency, Traffic};
use crate::families::{FamilyError, Role};
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
    clip: Option<(PartKey, LoadedClip)>,
    unet: Option<(PartKey, LoadedUnet)>,
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

/// Everything that the text encoder's output depends on.
#[derive(Debug, Clone, PartialEq)]
struct TextKey {
    clip: PartKey,
    prompt: String,
    negative: String,
    dialect: crate::prompt::Dialect,
    weighting: crate::prompt::Weighting,
}

/// The parts that sampling works with.
#[derive(Debug)]
pub struct Ready<'a> {
    /// The diffusion network.
    pub unet: &'a LoadedUnet,
    /// Both prompts, read.
    pub conditioning: &'a Conditioning,
}

impl Sets {
    /// Loads the parts that sampling needs and that are not loaded yet; what the job does not use is dropped first, to
    /// make room. The autoencoder comes later, see [`load_vae`](Self::load_vae).
    pub fn load(
        &mut self,
        set: &ModelSet,
        compute: &Compute,
        precision: Precision,
        asks: &Asks,
        cancel: &CancelFlag,
    ) -> Result<(), EngineError> {
        let target = |role| Target { compute, precision: network::held_in(role, precision), cancel, offload: asks.of(role) };
        let wanted = |role| {
            let ask = asks.ask_of(role).cloned().unwrap_or_default();
            Ok::<_, EngineError>(PartKey { offload: RefCell::new(ask), ..key(set, role, network::held_in(role, precision))? })
        };
        let (clip, unet, vae) = (wanted(Role::ClipL)?, wanted(Role::Denoiser)?, wanted(Role::Vae)?);
        let dropped = [drop_other(&mut self.clip, &clip), drop_other(&mut self.unet, &unet), drop_other(&mut self.vae, &vae)];
        if dropped.contains(&true) {
            // Pieces of another size would not fit into what they have left.
            compute.trim();
        }
        self.set = Some((set.name.clone(), set.family.name().to_owned()));
        if self.clip.is_none() {
            let loaded = LoadedClip::load(&paths(&clip), target(Role::ClipL))?;
            self.clip = Some((clip, loaded));
        }
        if self.unet.is_none() {
            let loaded = LoadedUnet::load(&paths(&unet), target(Role::Denoiser))?;
            self.unet = Some((unet, loaded));
        }
        self.opened_vae = match &self.vae {
            Some(_) => None,
            None => Some((vae.clone(), PlacedVae::open(&paths(&vae), target(Role::Vae))?)),
        };
        for residency in self.residencies_mut() {
            residency.serve(cancel);
        }
        self.check_unreplaced(set, &vae)
    }

    /// Has the diffusion network's weights live where a plan for this ask has them, between two steps. The next job that asks
    /// the same finds them there. Where that fails they live where they did.
    pub fn rebudget(&self, compute: &Compute, asked: &Asked, cancel: &CancelFlag) -> Result<(), EngineError> {
        let (key, unet) = self.unet.as_ref().ok_or_else(|| not_loaded(Role::Denoiser))?;
        unet.rebudget(Target { compute, precision: key.precision, cancel, offload: Offload::of(asked) })?;
        key.offload.replace(asked.ask.clone());
        Ok(())
    }

    /// Fails where a file was replaced while the parts were opened one after the other: they are not of one model.
    fn check_unreplaced(&self, set: &ModelSet, vae: &PartKey) -> Result<(), EngineError> {
        let parts = [
            (Role::ClipL, self.clip.as_ref().map(|(k, _)| k)),
            (Role::Denoiser, self.unet.as_ref().map(|(k, _)| k)),
            (Role::Vae, Some(vae)),
        ];
        for (role, opened) in parts {
            let Some(opened) = opened else { continue };
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

    /// Lets go of the weights that decoding does not need until they are asked for again. Returns the memory that becomes free.
    pub fn rest(&self) -> Bytes {
        self.residencies().into_iter().filter(|(role, _)| *role != Role::Vae).map(|(_, residency)| residency.rest()).sum()
    }

    /// Returns the autoencoder, once it is loaded.
    pub fn vae(&self) -> Result<&LoadedVae, EngineError> {
        self.vae.as_ref().map(|(_, vae)| vae).ok_or_else(|| not_loaded(Role::Vae))
    }

    /// Reads both prompts, unless they are those of the run before.
    pub fn condition(&mut self, spec: &JobSpec, compute: &Compute) -> Result<(), EngineError> {
        let Some((key, clip)) = &self.clip else { return Err(not_loaded(Role::ClipL)) };
        let text = TextKey {
            clip: key.clone(),
            prompt: spec.prompt.clone(),
            negative: spec.negative.clone(),
            dialect: spec.dialect,
            weighting: spec.weighting,
        };
        if self.conditioning.as_ref().is_none_or(|(known, _)| *known != text) {
            self.conditioning = Some((text, sd15::condition(spec, clip, compute.device)?));
        }
        Ok(())
    }

    /// Returns what sampling works with, once it is loaded and read.
    pub fn ready(&self) -> Result<Ready<'_>, EngineError> {
        let unet = self.ready_unet()?;
        let conditioning = self.conditioning.as_ref().map(|(_, c)| c).ok_or_else(|| not_loaded(Role::ClipL))?;
        Ok(Ready { unet, conditioning })
    }

    /// Returns the diffusion network, once it is loaded.
    pub fn ready_unet(&self) -> Result<&LoadedUnet, EngineError> {
        self.unet.as_ref().map(|(_, unet)| unet).ok_or_else(|| not_loaded(Role::Denoiser))
    }

    /// Returns what the network is held in.
    #[must_use]
    pub fn precision(&self) -> Option<Precision> {
        self.unet.as_ref().map(|(key, _)| key.precision)
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
        let placed = |(key, unet): &(PartKey, LoadedUnet)| Placed {
            files: paths(key),
            precision: key.precision,
            ask: key.offload.borrow().clone(),
            plan: unet.residency.plan().clone(),
        };
        let placed = self.unet.as_ref().map(placed).map(Box::new);
        Some(LoadedSet { name, family, parts: parts.collect(), placed })
    }

    fn residencies(&self) -> Vec<(Role, &Residency)> {
        let unet = self.unet.as_ref().map(|(_, u)| (Role::Denoiser, &u.residency));
        let clip = self.clip.as_ref().map(|(_, c)| (Role::ClipL, &c.residency));
        let vae = self.vae.as_ref().map(|(_, v)| (Role::Vae, &v.residency));
        [unet, clip, vae].into_iter().flatten().collect()
    }

    fn residencies_mut(&mut self) -> impl Iterator<Item = &mut Residency> {
        let unet = self.unet.as_mut().map(|(_, u)| &mut u.residency);
        let clip = self.clip.as_mut().map(|(_, c)| &mut c.residency);
        let vae = self.vae.as_mut().map(|(_, v)| &mut v.residency);
        [unet, clip, vae].into_iter().flatten()
    }
}

/// Drops what is not wanted, and returns whether that was anything.
fn drop_other<T>(slot: &mut Option<(PartKey, T)>, wanted: &PartKey) -> bool {
    slot.take_if(|(key, _)| key != wanted).is_some()
}

fn key(set: &ModelSet, role: Role, precision: Precision) -> Result<PartKey, EngineError> {
    let component = set.component(role).ok_or_else(|| not_loaded(role))?;
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).map_err(|e| crate::library::LibraryError::io(path, "looking at it", e))?;
        Ok((path.clone(), metadata.len(), metadata.modified().ok()))
    };
    Ok(PartKey { files: component.files.iter().map(stamp).collect::<Result<_, EngineError>>()?, precision, offload: RefCell::default() })
}

fn paths(key: &PartKey) -> Vec<PathBuf> {
    key.files.iter().map(|(path, _, _)| path.clone()).collect()
}

fn not_loaded(role: Role) -> EngineError {
    EngineError::Family { path: PathBuf::new(), source: FamilyError::Missing { role, tensor: "every tensor".to_owned() } }
}
