//! What loaded sets take of each device, by their plans and by measure.

use std::time::Duration;

use super::EngineError;
use super::pieces::Piece;
use super::residency::{Residency, Traffic};
use super::sets::Sets;
use crate::families::Role;
use crate::jobs::PartPlacement;
use crate::placement::Share;
use crate::placement::plan::total;
use crate::units::{Bytes, DeviceId};
use crate::wire::work::LoadedSet;
use crate::workflow::part_of;

impl Sets {
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

    /// Returns what was asked for and was not done when it was placed, in the words of plans: of the diffusion network where no part
    /// is named.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        let told = |role: Role, miss: String| if role == Role::Denoiser { miss } else { format!("{role}: {miss}") };
        let of_part = |(role, residency): (Role, &Residency)| residency.misses().into_iter().map(move |miss| told(role, miss));
        self.residencies().into_iter().flat_map(of_part).collect()
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

    /// Returns what weights of all sets take of a device, in memory of this process or of the device.
    #[must_use]
    pub fn all_on(&self, device: DeviceId) -> Bytes {
        let shelf = self.shelf.borrow();
        let of = |piece: &Piece| {
            let residency = piece.residency();
            let weights = residency.measured().iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
            weights + residency.staging() - residency.in_map()
        };
        self.pieces.iter().chain(&shelf.pieces).map(of).sum()
    }

    /// Returns the memory of the compute device through which blocks of all sets are streamed.
    #[must_use]
    pub fn all_staging(&self) -> Bytes {
        let shelf = self.shelf.borrow();
        self.pieces.iter().chain(&shelf.pieces).map(|piece| piece.residency().staging()).sum()
    }

    /// Returns the loaded sets for screens.
    #[must_use]
    pub fn views(&self) -> Vec<LoadedSet> {
        self.shelf.borrow().views(&self.pieces)
    }
}
