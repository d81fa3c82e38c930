//! What a source of readings is to the poller.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::devices::{DeviceReading, GpuProblem, HostReading};
use crate::units::{DeviceId, Timestamp};

/// What one source found out. `host` carries only what that source knows; the rest stays absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Rows, in the order in which they are shown.
    pub devices: Vec<DeviceReading>,
    /// A part of the host's reading.
    pub host: HostReading,
}

/// What the readers want to know beyond the plain reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Process ids of our own engines.
    pub engines: BTreeSet<u32>,
    /// Devices whose bus traffic somebody looks at; measuring it blocks, so it is not done for nobody.
    pub bus: BTreeSet<DeviceId>,
}

/// A source of readings. It lives on a thread of its own and may block there.
pub trait Probe: Send {
    /// Returns the source's name, as `waiting` shows it.
    fn name(&self) -> &'static str;

    /// Reads everything. `now` is when the answer is wanted; a probe asks no clock of its own.
    fn read(&mut self, now: Timestamp, ask: &Ask) -> Sample;

    /// Returns how long a reading stays good; the poller does not ask sooner unless a reader insists.
    fn good_for(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns what to tell when the source has not answered for long.
    fn silence(&self) -> Option<GpuProblem> {
        None
    }
}
