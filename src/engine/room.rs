//! Memory for what a run loads: where there is too little, sets leave that no run works with, the least recently used first.

use std::time::Instant;

use super::EngineError;
use super::runner::{Run, Runner};
use crate::families::Role;
use crate::library::network;
use crate::placement::Machine;
use crate::units::{Bytes, DeviceId, RunId};
use crate::weights::Precision;
use crate::wire::Report;

impl Runner {
    /// Runs a stage that loads weights, and returns its seconds. Where memory runs out, a set leaves and it is tried again;
    /// where none may, the error says who stays.
    pub(super) fn with_room(
        &mut self,
        run: RunId,
        role: Role,
        work: impl Fn(&mut Self) -> Result<(), EngineError>,
    ) -> Result<f64, EngineError> {
        let began = Instant::now();
        while let Err(error) = self.timed(role, &work) {
            if !self.is_helped(run, &error) {
                return Err(self.naming_who_stays(error));
            }
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Has a set leave where that is of use against an error. Returns whether one has.
    pub(super) fn is_helped(&self, run: RunId, error: &EngineError) -> bool {
        // Plans know already what could leave.
        let is_planned = matches!(error, EngineError::Placing { .. });
        !is_planned && error.short_of(self.compute.id).is_some_and(|device| self.one_leaves(run, device).is_some())
    }

    fn naming_who_stays(&self, error: EngineError) -> EngineError {
        let compute = self.compute.id;
        let Some(device) = error.short_of(compute) else { return error };
        let (held, sets) = self.sets.shelf.borrow().kept(device, compute);
        if held == Bytes::ZERO { error } else { EngineError::Kept { error: Box::new(error), held, sets } }
    }

    /// Makes room for all parts of a run that are not loaded, as far as others may leave for them.
    pub(super) fn room_for_the_rest(&mut self, run: &Run<'_>, precision: Precision) -> Result<(), EngineError> {
        if self.obtainable() == Bytes::ZERO {
            return Ok(());
        }
        let spec = &run.order.spec;
        let needed = network::needs(spec, precision, |role| !self.sets.has(role, spec))?;
        self.room_here(run.order.run, needed);
        Ok(())
    }

    /// Has others leave until so much is free of the device that computes, or none may leave any more.
    pub(super) fn room_here(&self, run: RunId, needed: Bytes) {
        while self.obtainable() > Bytes::ZERO && self.free().is_some_and(|free| free < needed) {
            if self.one_leaves(run, self.compute.id).is_none() {
                return;
            }
        }
    }

    /// Has others leave until so much of the device that computes has become free, or none may leave any more. Returns how much
    /// that is.
    pub(super) fn others_leave(&self, run: RunId, need: Bytes) -> Bytes {
        let mut freed = Bytes::ZERO;
        while freed < need
            && let Some(bytes) = self.one_leaves(run, self.compute.id)
        {
            freed += bytes;
        }
        freed
    }

    /// Has the set leave that was used least recently. Returns what became free of this device; `None` where none may leave.
    fn one_leaves(&self, run: RunId, device: DeviceId) -> Option<Bytes> {
        let gone = self.sets.shelf.borrow_mut().make_way(device, self.compute.id)?;
        self.compute.trim();
        let text = format!("{} left {device} to make room: {} became free", gone.name, gone.freed);
        tracing::info!(run = run.0, "{text}");
        self.reporter.report(Report::Notice { run, level: "info".to_owned(), text });
        self.report_memory();
        Some(gone.freed)
    }

    /// Returns what would become free of the device that computes if all sets left that may.
    pub(super) fn obtainable(&self) -> Bytes {
        self.sets.shelf.borrow().obtainable(self.compute.id, self.compute.id)
    }

    /// What weights may take of the device that computes, where that can be told: plans leave as much. A simulated GPU refuses
    /// what it has no room for to the byte, and nothing need be estimated.
    fn free(&self) -> Option<Bytes> {
        if self.compute.simulated.is_some() {
            return None;
        }
        let (total, free) = self.compute.memory()?;
        Some(free.saturating_sub(self.compute.floors.reserve(self.compute.id, total)))
    }

    /// Counts what sets hold that no run works with: as free, where they would leave for others; of simulated GPUs, where all
    /// that this engine holds was counted so, as taken, where they stay.
    pub(super) fn count_what_others_hold(&self, machine: &mut Machine) {
        let shelf = self.sets.shelf.borrow();
        for room in &mut machine.rooms {
            match room.device {
                DeviceId::Sim(_) => room.free = room.free.saturating_sub(shelf.kept(room.device, self.compute.id).0),
                DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Cpu | DeviceId::Disk => {
                    room.free = (room.free + shelf.obtainable(room.device, self.compute.id)).min(room.total);
                }
            }
        }
    }

    /// Says in words what sets hold of the device that no run works with.
    pub(super) fn others_in_words(&self) -> Option<String> {
        let (shelf, here) = (self.sets.shelf.borrow(), self.compute.id);
        let bytes = shelf.obtainable(here, here) + shelf.kept(here, here).0;
        (bytes > Bytes::ZERO).then(|| format!("{bytes} other sets"))
    }
}
