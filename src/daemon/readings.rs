//! Where readings of devices come from, as the daemon sees it.

use crate::devices::{DeviceReading, HostReading};
use crate::units::Timestamp;

/// All devices and the host at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Every device.
    pub devices: Vec<DeviceReading>,
    /// The host.
    pub host: HostReading,
    /// When.
    pub taken: Timestamp,
}

impl Frame {
    /// Returns a frame of which nothing is known.
    #[must_use]
    pub fn unknown(taken: Timestamp) -> Self {
        Self { devices: Vec::new(), host: HostReading::default(), taken }
    }
}

/// Reads devices. Blocks, so it is asked on a thread of its own, once a second.
pub trait Sensors: Send {
    /// Returns what can be read now.
    fn read(&mut self) -> Frame;
}

/// Sensors that see nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Sensors for Blind {
    fn read(&mut self) -> Frame {
        use crate::units::Clock;
        Frame::unknown(crate::units::SystemClock.now())
    }
}
