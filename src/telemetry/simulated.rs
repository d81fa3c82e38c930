//! Rows of the simulated GPUs of a profile. There is nothing to be read: what engines hold of their memory, the engines tell.

use std::time::Duration;

use crate::devices::{SimulatedGpu, simulated};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::Timestamp;

/// Shows simulated GPUs.
pub struct SimulatedProbe {
    gpus: Vec<SimulatedGpu>,
}

impl SimulatedProbe {
    /// Returns a probe of these GPUs.
    #[must_use]
    pub fn new(gpus: Vec<SimulatedGpu>) -> Self {
        Self { gpus }
    }
}

impl Probe for SimulatedProbe {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn read(&mut self, _now: Timestamp, _ask: &Ask) -> Sample {
        let devices = simulated::numbered(&self.gpus).map(|(id, gpu)| gpu.reading(id)).collect();
        Sample { devices, ..Sample::default() }
    }

    fn good_for(&self) -> Duration {
        // They never change.
        Duration::from_mins(1)
    }
}
