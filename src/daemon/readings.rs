//! Where readings of devices come from, as the daemon sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::telemetry::{Frame, Listener, Poller, Sources};
use crate::units::{DeviceId, SystemClock};

/// Between two readings while somebody looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Takes in new frames as they come.
pub type Sink = Box<dyn Fn(Arc<Frame>) + Send>;
/// Starts reading; every new frame goes to the sink.
pub type Start = Box<dyn FnOnce(Sink) -> io::Result<Arc<dyn Sensors>>>;

/// What reads devices, on threads of its own. Dropped, it stops.
pub trait Sensors: Send + Sync {
    /// Returns a fresh frame. Blocks, but not for much longer than `within`.
    fn read_now(&self, within: Duration) -> Arc<Frame>;

    /// Says whether anybody looks at the readings.
    fn watch(&self, watched: bool);

    /// Says whose bus traffic is measured: that takes time, so it is done for nobody else.
    fn watch_bus(&self, devices: BTreeSet<DeviceId>);

    /// Says which processes are our engines, and the device of each.
    fn set_engines(&self, engines: &BTreeMap<u32, DeviceId>);
}

/// Reads this machine: GPUs, host, and the disks that models and pictures lie on.
#[must_use]
pub fn of_machine(settings: &Settings) -> Start {
    let mut disks: Vec<PathBuf> = settings.models.value.clone();
    disks.extend([settings.output.value.clone(), settings.paths.cache.clone()]);
    let sources = Sources { nvml: settings.nvml.value.clone(), sys: PathBuf::from("/sys"), disks, simulated: settings.simulated() };
    let listener = Listener { nvml: sources.nvml.clone(), sys: sources.sys.clone() };
    Box::new(move |sink| {
        let mut poller = Poller::start(sources.probes(), INTERVAL, Arc::new(SystemClock), sink)?;
        poller.listen(listener)?;
        Ok(Arc::new(poller))
    })
}

impl Sensors for Poller {
    fn read_now(&self, within: Duration) -> Arc<Frame> {
        Self::read_now(self, within)
    }

    fn watch(&self, watched: bool) {
        Self::watch(self, watched);
    }

    fn watch_bus(&self, devices: BTreeSet<DeviceId>) {
        Self::watch_bus(self, devices);
    }

    fn set_engines(&self, engines: &BTreeMap<u32, DeviceId>) {
        Self::set_engines(self, engines.keys().copied().collect());
    }
}
