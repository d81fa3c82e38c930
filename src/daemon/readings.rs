//! Where readings of devices come from, as the daemon sees it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::devices::{DeviceReading, HostReading};
use crate::units::{Clock, SystemClock, Timestamp};

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

/// Takes in new frames as they come.
pub type Sink = Box<dyn Fn(Frame) + Send>;
/// Starts reading; every new frame goes to the sink.
pub type Start = Box<dyn FnOnce(Sink) -> io::Result<Arc<dyn Sensors>>>;

/// What reads devices, on threads of its own. Dropped, it stops.
pub trait Sensors: Send + Sync {
    /// Returns a fresh frame. Blocks, but not for much longer than `within`.
    fn read_now(&self, within: Duration) -> Frame;

    /// Says whether anybody looks at the readings.
    fn watch(&self, watched: bool);

    /// Says which processes are our engines.
    fn set_engines(&self, pids: BTreeSet<u32>);
}

/// Sensors that see nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Blind {
    /// Starts nothing.
    #[must_use]
    pub fn start() -> Start {
        Box::new(|_| Ok(Arc::new(Self)))
    }
}

impl Sensors for Blind {
    fn read_now(&self, _: Duration) -> Frame {
        Frame::unknown(SystemClock.now())
    }

    fn watch(&self, _: bool) {}

    fn set_engines(&self, _: BTreeSet<u32>) {}
}
