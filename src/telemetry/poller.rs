//! Reads all sources at intervals and hands out whole frames; readers never wait for a source.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::devices::SimulatedGpu;
use crate::telemetry::amdgpu::AmdProbe;
use crate::telemetry::disk::DiskProbe;
use crate::telemetry::frame::Frame;
use crate::telemetry::host::HostProbe;
use crate::telemetry::listener::Listener;
use crate::telemetry::nvidia::NvidiaProbe;
use crate::telemetry::probe::{Ask, Probe};
use crate::telemetry::rounds::{CONDUCTOR, Running, Shared, conduct, serve};
use crate::telemetry::simulated::SimulatedProbe;
use crate::units::{Clock, DeviceId};

/// Nobody needs readings more often, and GPUs slow down when asked too often.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(250);

/// The listener's name among the threads.
const LISTENER: &str = "faults";

/// How long an end may take before a thread that hangs in a driver is left behind.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Where a machine's readings come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The NVIDIA library; the system's where absent.
    pub nvml: Option<PathBuf>,
    /// sysfs; `/sys` but for tests.
    pub sys: PathBuf,
    /// File systems to show, that of the models first.
    pub disks: Vec<PathBuf>,
    /// GPUs that a profile simulates.
    pub simulated: Vec<SimulatedGpu>,
}

impl Sources {
    /// Returns the probes of all sources, in the order in which their rows are shown.
    #[must_use]
    pub fn probes(self) -> Vec<Box<dyn Probe>> {
        let mut probes: Vec<Box<dyn Probe>> =
            vec![Box::new(NvidiaProbe::new(self.nvml, self.sys.clone())), Box::new(AmdProbe::new(self.sys))];
        if !self.simulated.is_empty() {
            probes.push(Box::new(SimulatedProbe::new(self.simulated)));
        }
        probes.push(Box::new(HostProbe::new()));
        probes.push(Box::new(DiskProbe::new(self.disks)));
        probes
    }
}

/// Reads all sources, each on its own thread. Ends its threads when dropped.
pub struct Poller {
    shared: Arc<Shared>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

impl Poller {
    /// Starts the threads and has everything read once; after that, only while somebody watches.
    ///
    /// `sink` gets every new frame, on a thread of ours, in order. It may call `latest` but not `read_now`,
    /// and while it takes its time no new frame is made.
    pub fn start(
        probes: Vec<Box<dyn Probe>>,
        interval: Duration,
        clock: Arc<dyn Clock>,
        sink: impl Fn(Arc<Frame>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&probes, interval.max(SHORTEST_INTERVAL), clock));
        let mut poller = Self { shared, threads: Vec::new() };
        // Should a thread not start, dropping the poller ends the others.
        poller.spawn(CONDUCTOR, move |shared| conduct(shared, sink))?;
        for (place, probe) in probes.into_iter().enumerate() {
            poller.spawn(probe.name(), move |shared| serve(shared, place, probe))?;
        }
        Ok(poller)
    }

    /// Listens to what drivers tell by themselves, on a thread of its own, whether anybody watches or not.
    pub fn listen(&mut self, listener: Listener) -> io::Result<()> {
        self.spawn(LISTENER, move |shared| listener.listen(&mut |time, put| shared.rest(time, put)))
    }

    fn spawn(&mut self, name: &'static str, work: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.shared.lock().running.push(name);
        let spawned = thread::Builder::new().name(format!("read {name}")).spawn(move || {
            let _running = Running::new(&shared, name);
            work(&shared);
        });
        match spawned {
            Ok(thread) => {
                self.threads.push((name, thread));
                Ok(())
            }
            Err(error) => {
                self.shared.lock().running.retain(|running| *running != name);
                Err(error)
            }
        }
    }

    /// Returns the last frame, at once. Before the first answers it has no rows and says what it waits for.
    #[must_use]
    pub fn latest(&self) -> Arc<Frame> {
        self.shared.latest()
    }

    /// Returns a fresh frame, whether anybody watches or not; sources that do not answer in time keep their last values.
    #[must_use]
    pub fn read_now(&self, within: Duration) -> Arc<Frame> {
        self.shared.read_now(within)
    }

    /// Says whether anybody watches. While nobody does, nothing is read.
    pub fn watch(&self, watched: bool) {
        self.shared.lock().watched = watched;
        self.shared.desk.notify_one();
    }

    /// Says whose bus traffic is looked at. It is measured for no other device.
    pub fn watch_bus(&self, devices: BTreeSet<DeviceId>) {
        let mut state = self.shared.lock();
        state.ask = Arc::new(Ask { bus: devices, ..Ask::clone(&state.ask) });
    }

    /// Says which processes are our engines.
    pub fn set_engines(&self, pids: BTreeSet<u32>) {
        let mut state = self.shared.lock();
        state.ask = Arc::new(Ask { engines: pids, ..Ask::clone(&state.ask) });
    }

    /// Ends the threads. Returns the names of those that hang in a driver and had to be left behind.
    #[must_use]
    pub fn stop(mut self) -> Vec<&'static str> {
        self.end()
    }

    fn end(&mut self) -> Vec<&'static str> {
        self.shared.lock().stopping = true;
        self.shared.turn.notify_all();
        self.shared.desk.notify_all();
        self.shared.fresh.notify_all();
        if self.threads.is_empty() {
            return Vec::new();
        }
        let left = self.shared.wait_for_end(END_WITHIN);
        for (name, thread) in self.threads.drain(..) {
            if left.contains(&name) {
                tracing::warn!(source = name, "a source hangs and is left behind");
            } else if thread.join().is_err() {
                tracing::error!(source = name, "a source's thread had panicked");
            }
        }
        left
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.end();
    }
}
