//! The model sets that are loaded, and the parts of those that no run works with now.
//!
//! A set is a list of what its parts are; a part is loaded once, whichever sets list it. Sets leave when memory is asked for,
//! those that were used least recently first, and never one that is pinned or that a run works with.

use super::pieces::{Content, Loaded, Piece};
use super::wishes::Wishes;
use crate::families::Role;
use crate::library::likeness;
use crate::placement::recency::{self, Tenant};
use crate::units::{Bytes, DeviceId};
use crate::wire::work::{LoadedSet, Placed};
use crate::workflow::SetId;

/// A model set that is loaded, or is being loaded.
#[derive(Debug, Clone)]
pub struct Record {
    /// What tells it from others.
    pub id: SetId,
    /// What it is called.
    pub name: String,
    /// Its family.
    pub family: String,
    /// What its parts are.
    pub parts: Vec<(Role, Content)>,
    /// When it was used last, in runs.
    pub used: u64,
}

/// A set that has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// What it was called.
    pub name: String,
    /// What became free of the device where memory was asked for.
    pub freed: Bytes,
}

/// What no run works with now.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Parts of sets.
    pub pieces: Vec<Piece>,
    /// All sets, in use or not.
    records: Vec<Record>,
    /// The set that a run works with.
    pub current: Option<SetId>,
    /// Parts that are the same as those of other files: as they are named, and as they are loaded.
    twins: Vec<(Role, Content, Content)>,
    used: u64,
    copies: u64,
    /// What operators want of sets.
    pub wishes: Wishes,
}

impl Shelf {
    /// Returns the number of the next copy.
    pub fn next_copy(&mut self) -> u64 {
        self.copies += 1;
        self.copies
    }

    /// Notes that a set is used now.
    pub fn use_now(&mut self, mut record: Record) {
        self.used += 1;
        record.used = self.used;
        self.current = Some(record.id.clone());
        self.records.retain(|known| known.id != record.id);
        self.records.push(record);
    }

    /// Drops all sets that no run works with. Copies are counted on.
    pub fn clear(&mut self) {
        self.records.clear();
        self.sweep();
    }

    /// Drops parts that are of no set any more, such as those of files that were replaced. Returns whether there were any.
    pub fn sweep(&mut self) -> bool {
        let before = self.pieces.len();
        let records = &self.records;
        self.pieces.retain(|piece| records.iter().any(|r| r.has(piece)));
        self.pieces.len() < before
    }

    /// Returns what a part is loaded as, or would be: the same bytes in another file are the same part. `in_use` are the parts
    /// that are not here.
    pub fn loaded_as(&mut self, role: Role, named: Content, in_use: &[Piece]) -> Content {
        let there = || self.pieces.iter().chain(in_use).filter(|piece| piece.role == role).map(|piece| &piece.content);
        if there().any(|content| *content == named) {
            return named;
        }
        let is_there = |content: &Content| there().any(|other| other == content) && content.changed().is_none();
        if let Some((.., twin)) = self.twins.iter().find(|(of, name, twin)| *of == role && *name == named && is_there(twin)) {
            return twin.clone();
        }
        // What cannot be read is told of by whoever loads it.
        let is_same = |other: &&Content| likeness::is_same(role, &other.paths(), &named.paths()).unwrap_or(false);
        let twin = there().filter(|other| other.is_like(&named) && other.changed().is_none()).find(is_same).cloned();
        let Some(twin) = twin else { return named };
        self.twins.retain(|(of, name, _)| *of != role || *name != named);
        self.twins.push((role, named, twin.clone()));
        twin
    }

    fn tenants(&self) -> Vec<Tenant> {
        let pieces = |record: &Record| (0..self.pieces.len()).filter(|at| record.has(&self.pieces[*at])).collect();
        let stays = |record: &Record| self.current.as_ref() == Some(&record.id) || self.wishes.is_pinned(&record.id);
        let tenant = |record: &Record| Tenant { used: record.used, stays: stays(record), pieces: pieces(record) };
        self.records.iter().map(tenant).collect()
    }

    fn own_on(&self, device: DeviceId, compute: DeviceId) -> Vec<Bytes> {
        self.pieces.iter().map(|piece| piece.own_on(device, compute)).collect()
    }

    /// Has the set leave that was used least recently, so that memory of this device becomes free; `None` where none may.
    pub fn make_way(&mut self, device: DeviceId, compute: DeviceId) -> Option<Gone> {
        let own = self.own_on(device, compute);
        let leaving = recency::leaving(&self.tenants(), &own);
        let ids: Vec<SetId> = leaving.iter().map(|at| self.records[*at].id.clone()).collect();
        let names: Vec<String> = leaving.iter().map(|at| format!("`{}`", self.records[*at].name)).collect();
        if ids.is_empty() {
            return None;
        }
        self.records.retain(|record| !ids.contains(&record.id));
        self.sweep();
        let left: Bytes = self.own_on(device, compute).into_iter().sum();
        Some(Gone { name: names.join(", "), freed: own.into_iter().sum::<Bytes>() - left })
    }

    /// Has a set leave that is not in use. Returns whether it was there.
    pub fn unload(&mut self, id: &SetId) -> bool {
        let before = self.records.len();
        self.records.retain(|record| record.id != *id);
        self.sweep();
        self.records.len() < before
    }

    /// Returns what sets take of a device that would leave if somebody asked for it.
    #[must_use]
    pub fn obtainable(&self, device: DeviceId, compute: DeviceId) -> Bytes {
        recency::obtainable(&self.tenants(), &self.own_on(device, compute))
    }

    /// Returns what stays on a device though no run works with it, and the sets that hold it.
    #[must_use]
    pub fn kept(&self, device: DeviceId, compute: DeviceId) -> (Bytes, Vec<String>) {
        let own = self.own_on(device, compute);
        let bytes = own.iter().copied().sum::<Bytes>() - self.obtainable(device, compute);
        let holds = |tenant: &Tenant| tenant.stays && tenant.pieces.iter().any(|at| own.get(*at).is_some_and(|b| *b > Bytes::ZERO));
        let names = self.records.iter().zip(self.tenants()).filter(|(_, tenant)| holds(tenant)).map(|(record, _)| record.name.clone());
        (bytes, names.collect())
    }

    /// Returns all sets of which something is loaded for screens, the one that was used last first. `in_use` are the parts that
    /// are not here.
    #[must_use]
    pub fn views(&self, in_use: &[Piece]) -> Vec<LoadedSet> {
        self.records.iter().rev().map(|record| self.view(record, in_use)).filter(|set| !set.parts.is_empty()).collect()
    }

    fn view(&self, record: &Record, in_use: &[Piece]) -> LoadedSet {
        let mut pieces: Vec<&Piece> = in_use.iter().chain(&self.pieces).filter(|piece| record.has(piece)).collect();
        pieces.sort_by_key(|piece| piece.role);
        let placed = |piece: &&Piece| match &piece.model {
            Loaded::Denoiser(denoiser) => Some(Box::new(Placed {
                files: piece.content.paths(),
                precision: piece.content.precision,
                ask: piece.ask.borrow().clone(),
                plan: denoiser.residency.plan().clone(),
                staging: denoiser.staging(),
            })),
            Loaded::Encoder(_) | Loaded::Vae(_) => None,
        };
        LoadedSet {
            id: record.id.clone(),
            name: record.name.clone(),
            family: record.family.clone(),
            placed: pieces.iter().find_map(placed),
            parts: pieces.into_iter().flat_map(Piece::views).collect(),
        }
    }
}

impl Record {
    fn has(&self, piece: &Piece) -> bool {
        self.parts.iter().any(|(role, content)| *role == piece.role && *content == piece.content)
    }
}
