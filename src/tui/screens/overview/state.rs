//! Where the operator is on the overview.

use crate::units::DeviceId;

/// A panel that keys can act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    /// Devices.
    #[default]
    Devices,
    /// Loaded model sets.
    Sets,
    /// Jobs.
    Queue,
    /// Notices.
    Events,
}

impl Pane {
    /// Every panel, in the order of tab.
    pub const ALL: &[Self] = &[Self::Devices, Self::Sets, Self::Queue, Self::Events];

    /// Returns the panel so many places further.
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let all = Self::ALL;
        let at = all.iter().position(|p| *p == self).unwrap_or(0).cast_signed();
        all[(at + by).rem_euclid(all.len().cast_signed()).cast_unsigned()]
    }
}

/// Where the operator is.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The panel that keys act on.
    pub pane: Pane,
    /// The selected device; the first where it is gone.
    pub device: Option<DeviceId>,
    /// The selected set, from the top.
    pub set: usize,
    /// The selected notice, from the newest.
    pub event: usize,
}
