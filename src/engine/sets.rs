//! The model set that a run works with. What it shares with others is loaded once; others stay beside it, see [`Shelf`].

use std::cell::RefCell;

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::Compute;
use super::loading::assemble::Target;
use super::loading::{Asked, Asks, LoadedDenoiser, LoadedEncoder, LoadedVae, Offload, PlacedVae};
use super::pieces::{Content, Loaded, Piece};
use super::pipelines::text::{self, Conditioning};
use super::residency::Residency;
use super::shelf::{Record, Shelf};
use crate::cache::Embeddings;
use crate::families::{Family, Role};
use crate::library::network;
use crate::placement::OffloadAsk;
use crate::units::Bytes;
use crate::weights::Precision;
use crate::workflow::{JobSpec, ModelSet, SetId};

/// What is loaded.
#[derive(Debug, Default)]
pub struct Sets {
    /// What the parts of the set in use are, as the job names them and as they are loaded.
    wanted: Vec<Wanted>,
    /// Those that are loaded.
    pub(super) pieces: Vec<Piece>,
    /// An autoencoder that is loaded when it is needed, from the files that were there when the run began.
    opened_vae: Option<(Content, PlacedVae)>,
    conditioning: Option<(TextKey, Conditioning)>,
    pub(super) shelf: RefCell<Shelf>,
}

/// A part of the set in use.
#[derive(Debug, Clone)]
struct Wanted {
    role: Role,
    /// Its own files, as they were when the run began.
    named: Content,
    /// What it is loaded as.
    content: Content,
    ask: OffloadAsk,
}

/// Everything that the text encoders' output depends on, and where they are asked to live: a run that asks something else shows
/// what comes of it.
#[derive(Debug, Clone, PartialEq)]
struct TextKey {
    encoders: Vec<(Role, Content, OffloadAsk)>,
    /// Families read one encoder in their own ways.
    family: Family,
    variant: String,
    prompt: String,
    negative: Option<String>,
    dialect: crate::prompt::Dialect,
    weighting: crate::prompt::Weighting,
}

impl TextKey {
    fn of(spec: &JobSpec, encoders: Vec<(Role, Content, OffloadAsk)>) -> Self {
        Self {
            encoders,
            family: spec.set.family,
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

    /// Looks at the files of all parts.
    fn contents(&self, set: &ModelSet) -> Result<Vec<(Role, Content)>, EngineError> {
        let encoders = set.family.encoders().filter(|role| set.component(*role).is_some());
        let roles = std::iter::once(Role::Denoiser).chain(encoders).chain([Role::Vae]);
        roles.map(|role| Ok((role, Content::of(set, role, network::held_in(role, self.precision))?))).collect()
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
    /// Takes up the set of a job: what of it is loaded is at hand, and what it does not use stays for others. Parts that are to
    /// live elsewhere than they do are dropped, and loaded anew.
    pub fn take_up(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<(), EngineError> {
        let contents = how.contents(&spec.set)?;
        let shelf = self.shelf.get_mut();
        let in_use = std::mem::take(&mut self.pieces);
        let wanted = |(role, named): (Role, Content)| Wanted {
            role,
            content: shelf.loaded_as(role, named.clone(), &in_use),
            named,
            ask: how.asks.ask_of(role).cloned().unwrap_or_default(),
        };
        self.wanted = contents.into_iter().map(wanted).collect();
        self.opened_vae = None;
        let mut is_dropped = false;
        for piece in std::mem::take(&mut shelf.pieces).into_iter().chain(in_use) {
            match self.wanted.iter().find(|w| w.role == piece.role && w.content == piece.content) {
                Some(wanted) if *piece.ask.borrow() == wanted.ask => self.pieces.push(piece),
                Some(_) => is_dropped = true,
                None => shelf.pieces.push(piece),
            }
        }
        shelf.use_now(Record {
            id: SetId::of(&spec.set, how.precision),
            name: spec.set.name.clone(),
            family: spec.set.family.name().to_owned(),
            parts: self.wanted.iter().map(|w| (w.role, w.content.clone())).collect(),
            used: 0,
        });
        if shelf.sweep() || is_dropped {
            // Pieces of another size would not fit into what they have left.
            how.compute.trim();
        }
        Ok(())
    }

    /// Leaves the set that was in use with the others.
    pub fn put_away(&mut self) {
        let shelf = self.shelf.get_mut();
        shelf.pieces.append(&mut self.pieces);
        shelf.current = None;
        (self.opened_vae, self.conditioning) = (None, None);
        self.wanted.clear();
    }

    /// Returns whether the set in use has its network and its autoencoder, or finds it when it is asked for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.piece(Role::Denoiser).is_some() && (self.piece(Role::Vae).is_some() || self.opened_vae.is_some())
    }

    /// Drops the set in use, and with it those of its parts that no other set lists: it cannot be loaded.
    pub fn forget(&mut self) {
        let current = self.shelf.get_mut().current.clone();
        self.put_away();
        if let Some(id) = current {
            self.shelf.get_mut().unload(&id);
        }
    }

    /// Drops all parts of all sets.
    pub fn clear(&mut self) {
        self.put_away();
        self.shelf.get_mut().clear();
    }

    /// Looks whether it is known what the text encoders would say of a job's text, from a run before or from the disk. Returns
    /// whether the text is still to be read.
    pub fn recall(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<bool, EngineError> {
        if self.knows_text(spec) {
            return Ok(false);
        }
        let Some(conditioning) = how.readings(spec)?.and_then(|kept| text::recall(spec, &kept)) else { return Ok(true) };
        tracing::info!("both prompts were read before: no text encoder is needed");
        self.conditioning = Some((self.text_key(spec), conditioning));
        Ok(false)
    }

    /// Forgets what text encoders said last: they are to be loaded whatever is known.
    pub fn forget_text(&mut self) {
        self.conditioning = None;
    }

    /// Loads the text encoders of a job whose set was [taken up](Self::take_up), unless what they would say is known.
    pub fn load_encoders(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<(), EngineError> {
        if self.knows_text(spec) {
            return Ok(());
        }
        let missing = self.wanted.iter().filter(|w| w.role.is_encoder() && self.piece(w.role).is_none());
        for wanted in missing.cloned().collect::<Vec<_>>() {
            let words = spec.set.vocabularies.get(&wanted.role);
            let loaded = LoadedEncoder::load(wanted.role, &wanted.content.paths(), words, how.target(wanted.role))?;
            self.keep(wanted, Loaded::Encoder(Box::new(loaded)));
        }
        self.serve(how.cancel);
        Ok(())
    }

    /// Loads the diffusion network, unless it is loaded, and finds places for the autoencoder. That comes later, see
    /// [`load_vae`](Self::load_vae).
    pub fn load_network(&mut self, set: &ModelSet, how: &Loading<'_>) -> Result<(), EngineError> {
        if self.piece(Role::Denoiser).is_none() {
            let wanted = self.wanted(Role::Denoiser)?;
            let loaded = LoadedDenoiser::load(&wanted.content.paths(), how.target(Role::Denoiser))?;
            self.keep(wanted, Loaded::Denoiser(Box::new(loaded)));
        }
        self.opened_vae = None;
        if self.piece(Role::Vae).is_none() {
            let content = self.wanted(Role::Vae)?.content;
            let opened = PlacedVae::open(&content.paths(), how.target(Role::Vae))?;
            self.opened_vae = Some((content, opened));
        }
        self.serve(how.cancel);
        self.check_unreplaced(set)
    }

    fn wanted(&self, role: Role) -> Result<Wanted, EngineError> {
        self.wanted.iter().find(|w| w.role == role).cloned().ok_or_else(|| EngineError::not_loaded(role))
    }

    fn keep(&mut self, wanted: Wanted, model: Loaded) {
        let copy = self.shelf.get_mut().next_copy();
        self.pieces.push(Piece::new(copy, wanted.role, wanted.content, wanted.ask, model));
        self.pieces.sort_by_key(|piece| piece.role);
    }

    fn piece(&self, role: Role) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.role == role)
    }

    /// Returns whether a part is loaded, or need not be.
    #[must_use]
    pub fn has(&self, role: Role, spec: &JobSpec) -> bool {
        self.piece(role).is_some() || (role.is_encoder() && self.knows_text(spec))
    }

    fn serve(&mut self, cancel: &CancelFlag) {
        for residency in self.residencies_mut() {
            residency.serve(cancel);
        }
    }

    fn text_key(&self, spec: &JobSpec) -> TextKey {
        let encoders = self.wanted.iter().filter(|w| w.role.is_encoder());
        TextKey::of(spec, encoders.map(|w| (w.role, w.content.clone(), w.ask.clone())).collect())
    }

    fn knows_text(&self, spec: &JobSpec) -> bool {
        self.conditioning.as_ref().is_some_and(|(known, _)| *known == self.text_key(spec))
    }

    /// Has the diffusion network's weights live where a plan for this ask has them, between two steps. The next job that asks
    /// the same finds them there. Where that fails they live where they did.
    pub fn rebudget(&self, compute: &Compute, asked: &Asked, cancel: &CancelFlag) -> Result<(), EngineError> {
        let piece = self.piece(Role::Denoiser).ok_or_else(|| EngineError::not_loaded(Role::Denoiser))?;
        let target = Target { compute, precision: piece.content.precision, cancel, offload: Offload::of(asked) };
        self.ready_denoiser()?.rebudget(target)?;
        piece.ask.replace(asked.ask.clone());
        Ok(())
    }

    /// Fails where a file was replaced while the parts were opened one after the other: they are not of one model.
    fn check_unreplaced(&self, set: &ModelSet) -> Result<(), EngineError> {
        for wanted in self.wanted.iter().filter(|w| set.component(w.role).is_some()) {
            if let Some(path) = wanted.named.changed().or_else(|| wanted.content.changed()) {
                return Err(EngineError::Changed { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Loads the autoencoder, unless it is loaded: the first step need not wait for it.
    pub fn load_vae(&mut self, compute: &Compute, cancel: &CancelFlag) -> Result<(), EngineError> {
        if let Some((content, opened)) = self.opened_vae.clone() {
            let loaded = opened.load(Target { compute, precision: content.precision, cancel, offload: Offload::Nothing })?;
            let wanted = self.wanted(Role::Vae)?;
            self.keep(wanted, Loaded::Vae(Box::new(loaded)));
            self.opened_vae = None;
        }
        Ok(())
    }

    /// Brings all weights of all parts that live on the compute device, whether a run asks for them or not.
    pub fn bring(&self) -> Result<(), EngineError> {
        self.pieces.iter().try_for_each(|piece| piece.residency().bring_all())
    }

    /// Lets go of the weights of such parts until they are asked for again. Returns the memory that becomes free.
    pub fn rest(&self, is_resting: impl Fn(Role) -> bool) -> Bytes {
        self.residencies().into_iter().filter(|(role, _)| is_resting(*role)).map(|(_, residency)| residency.rest()).sum()
    }

    /// Returns the autoencoder, once it is loaded.
    pub fn vae(&self) -> Result<&LoadedVae, EngineError> {
        let vae = self.piece(Role::Vae).and_then(|piece| if let Loaded::Vae(vae) = &piece.model { Some(&**vae) } else { None });
        vae.ok_or_else(|| EngineError::not_loaded(Role::Vae))
    }

    /// Reads both prompts, unless they are those of the run before.
    pub fn condition(&mut self, spec: &JobSpec, how: &Loading<'_>) -> Result<(), EngineError> {
        if !self.knows_text(spec) {
            let (text, kept) = (self.text_key(spec), how.readings(spec)?);
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
        let piece = self.piece(Role::Denoiser);
        let denoiser = piece.and_then(|piece| if let Loaded::Denoiser(denoiser) = &piece.model { Some(&**denoiser) } else { None });
        denoiser.ok_or_else(|| EngineError::not_loaded(Role::Denoiser))
    }

    fn ready_encoder(&self, role: Role) -> Result<&LoadedEncoder, EngineError> {
        let piece = self.piece(role);
        let encoder = piece.and_then(|piece| if let Loaded::Encoder(encoder) = &piece.model { Some(&**encoder) } else { None });
        encoder.ok_or_else(|| EngineError::not_loaded(role))
    }

    /// Returns what the network is held in.
    #[must_use]
    pub fn precision(&self) -> Option<Precision> {
        self.piece(Role::Denoiser).map(|piece| piece.content.precision)
    }

    /// Returns the block in use, for messages about a failure.
    #[must_use]
    pub fn place(&self, role: Role) -> String {
        let residency = self.residencies().into_iter().find(|(r, _)| *r == role);
        residency.map_or_else(|| role.name().to_owned(), |(_, residency)| residency.place())
    }

    pub(super) fn residencies(&self) -> Vec<(Role, &Residency)> {
        self.pieces.iter().map(|piece| (piece.role, piece.residency())).collect()
    }

    fn residencies_mut(&mut self) -> impl Iterator<Item = &mut Residency> {
        self.pieces.iter_mut().map(Piece::residency_mut)
    }
}
