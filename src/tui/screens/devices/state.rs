//! Which device is shown, how far back, and at which process the operator is.

use super::fields::{Beside, FIELDS};
use crate::devices::{DeviceReading, ProcessReading};
use crate::tui::known::Known;
use crate::tui::screens::overview::devices::ids;
use crate::tui::trail::Span;
use crate::tui::widgets::search::Search;
use crate::units::DeviceId;

/// A process: by number and start, never by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// The kernel's clock when it started, where that can be seen.
    pub start_ticks: Option<u64>,
}

impl Identity {
    /// Returns the identity of a process that was read.
    #[must_use]
    pub fn of(process: &ProcessReading) -> Self {
        Self { pid: process.pid, start_ticks: process.start_ticks }
    }
}

/// The open list of signals: for which process, and which is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// For which.
    pub process: Identity,
    /// The selected signal.
    pub cursor: usize,
}

/// Which device is shown.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The device; the first where it is gone.
    pub device: Option<DeviceId>,
    /// How far back graphs look.
    pub span: Span,
    /// The selected process; the first where it is gone.
    pub process: Option<Identity>,
    /// Which processes are shown.
    pub filter: Search,
    /// The open list of signals.
    pub signals: Option<Signals>,
    /// The device of which the daemon was told that its bus is looked at.
    pub watched: Option<DeviceId>,
}

impl State {
    /// Returns the device that is shown.
    #[must_use]
    pub fn reading<'a>(&self, known: &'a Known) -> Option<&'a DeviceReading> {
        let ids = ids(known);
        let id = self.device.filter(|id| ids.contains(id)).or_else(|| ids.first().copied())?;
        known.devices.iter().find(|d| d.id == id)
    }

    /// Returns the processes that are shown.
    #[must_use]
    pub fn shown<'a>(&self, known: &'a Known) -> Vec<&'a ProcessReading> {
        let Some(device) = self.reading(known) else { return Vec::new() };
        let filter = self.filter.filter(FIELDS);
        device.processes.iter().filter(|process| filter.matches(&Beside { process, device, now: known.now })).collect()
    }

    /// Returns the row of the selected process among those shown.
    #[must_use]
    pub fn cursor(&self, shown: &[&ProcessReading]) -> Option<usize> {
        let at = self.process.and_then(|id| shown.iter().position(|p| Identity::of(p) == id));
        at.or(if shown.is_empty() { None } else { Some(0) })
    }

    /// Returns the selected process.
    #[must_use]
    pub fn at_hand<'a>(&self, known: &'a Known) -> Option<&'a ProcessReading> {
        let shown = self.shown(known);
        self.cursor(&shown).map(|at| shown[at])
    }
}
