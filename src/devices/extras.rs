//! What else a driver tells of a GPU: how far it could go, what holds it back, and whether its memory errs.

use serde::{Deserialize, Serialize};

use super::Faults;

/// How far a GPU could go, and what keeps it from it now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extras {
    /// Performance state, 0 the fastest.
    pub performance_state: Option<u32>,
    /// What keeps the clocks down; empty where nothing does.
    pub throttle: Option<Vec<String>>,
    /// Highest clock of the processors in MHz.
    pub sm_max_mhz: Option<u32>,
    /// Highest clock of the memory in MHz.
    pub mem_max_mhz: Option<u32>,
    /// Core temperature at which it slows down, in °C.
    pub slowdown_c: Option<f64>,
    /// Highest link generation of card and slot.
    pub pcie_max_generation: Option<u32>,
    /// Most lanes of card and slot.
    pub pcie_max_width: Option<u32>,
    /// Errors of its memory.
    pub ecc: Option<Ecc>,
    /// Faults that its driver has told of.
    #[serde(default)]
    pub xid: Option<Faults>,
}

/// Errors of a memory that corrects them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ecc {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Errors since the driver was loaded that were corrected.
    pub corrected: Option<u64>,
    /// Errors since then that were not.
    pub uncorrected: Option<u64>,
}

impl Extras {
    /// Returns the names of the values that are absent, as they stand in JSON and in `why`.
    pub(super) fn absent(&self) -> impl Iterator<Item = &'static str> {
        [
            ("extras.performance_state", self.performance_state.is_none()),
            ("extras.throttle", self.throttle.is_none()),
            ("extras.sm_max_mhz", self.sm_max_mhz.is_none()),
            ("extras.mem_max_mhz", self.mem_max_mhz.is_none()),
            ("extras.slowdown_c", self.slowdown_c.is_none()),
            ("extras.pcie_max_generation", self.pcie_max_generation.is_none()),
            ("extras.pcie_max_width", self.pcie_max_width.is_none()),
            ("extras.ecc", self.ecc.is_none()),
            ("extras.xid", self.xid.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, absent)| absent.then_some(name))
    }
}
