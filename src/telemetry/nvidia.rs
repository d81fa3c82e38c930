//! NVIDIA GPUs: opens the driver, finds the devices, reads them, and starts over when the driver goes away.
//!
//! A failure is never final: a library that does not load, a driver that does not start and a GPU that
//! is lost are all tried again, every half minute. GPUs that sleep are left asleep; while all of them
//! do, the driver is not even opened, for that would wake them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::devices::{DeviceReading, GpuProblem, HostReading};
use crate::telemetry::card::{Answer, Closed, Identity, Refusal, SOURCE};
use crate::telemetry::condition::is_due;
use crate::telemetry::driver::{self, Failure, Surroundings};
use crate::telemetry::gpu::{Fresh, Gpu, Onlookers, pids};
use crate::telemetry::names::Names;
use crate::telemetry::nvml::{Address, Library};
use crate::telemetry::pci::{PciGpu, nvidia_gpus};
use crate::telemetry::processes::{describe, merge};
use crate::telemetry::roster::{Entry, Roster};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::Timestamp;

/// The driver while it is open.
struct Session {
    library: Library,
    driver: Option<String>,
    cuda: Option<String>,
    /// The kernel module's version at that time.
    module: Option<String>,
}

/// Reads NVIDIA GPUs through the library that comes with their driver.
pub struct NvidiaProbe {
    library: Option<PathBuf>,
    sys: PathBuf,
    session: Option<Session>,
    /// When opening was last tried.
    tried: Option<Timestamp>,
    problem: Option<GpuProblem>,
    gpus: Vec<Gpu>,
    roster: Roster,
    names: Names,
    /// What sysfs lists, and when it was looked at.
    bus: Option<Vec<PciGpu>>,
    looked: Option<Timestamp>,
}

impl NvidiaProbe {
    /// Returns a probe that loads `library`, or the system's, and reads sysfs at `sys`, `/sys` but for tests. Opens nothing yet.
    #[must_use]
    pub fn new(library: Option<PathBuf>, sys: PathBuf) -> Self {
        Self {
            library,
            sys,
            session: None,
            tried: None,
            problem: None,
            gpus: Vec::new(),
            roster: Roster::default(),
            names: Names::default(),
            bus: None,
            looked: None,
        }
    }

    /// Looks at the bus now and then: cards may be plugged in, and the driver may be exchanged under us.
    fn look_around(&mut self, now: Timestamp) {
        if is_due(self.looked, now) {
            self.looked = Some(now);
            self.bus = nvidia_gpus(&self.sys);
            let module = driver::module_version(&self.sys);
            if let (Some(session), Some(version)) = (&self.session, &module)
                && session.module != module
            {
                tracing::info!(version, was = session.module, "the NVIDIA driver was exchanged");
                self.close("the driver was exchanged", now);
            }
        }
        for gpu in &mut self.gpus {
            let on_bus = self.bus.iter().flatten().find(|b| Some(&b.address) == gpu.identity.pci.as_ref());
            gpu.asleep = on_bus.is_some_and(PciGpu::is_asleep);
        }
    }

    fn open_if_due(&mut self, now: Timestamp) {
        if self.session.is_none() && is_due(self.tried, now) {
            self.open(now);
        }
    }

    /// Opens the driver and finds the devices.
    fn open(&mut self, now: Timestamp) {
        self.tried = Some(now);
        let bus = self.bus.iter().flatten();
        let asleep: Vec<String> = bus.clone().filter(|gpu| gpu.is_asleep()).map(|gpu| gpu.address.clone()).collect();
        if !asleep.is_empty() && asleep.len() == bus.count() {
            self.take_in(Vec::new(), &asleep, now);
            self.problem = None;
            // Somebody may wake one at any time.
            self.tried = None;
            return;
        }
        let opened = Library::open(self.library.as_deref()).and_then(|library| {
            let found = self.find(&library, &asleep).map_err(|r| Failure::Failed { detail: r.reason().to_owned() })?;
            Ok((library, found))
        });
        match opened {
            Ok((library, found)) => {
                let module = driver::module_version(&self.sys);
                let session = Session { driver: library.driver(), cuda: library.cuda(), library, module };
                self.take_in(found, &asleep, now);
                self.problem = self.gpus.is_empty().then(|| driver::no_devices(session.driver.as_deref()));
                self.session = Some(session);
            }
            Err(failure) => self.failed(&failure),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        let around = Surroundings {
            library: self.library.as_ref().map(|path| path.display().to_string()),
            module_version: driver::module_version(&self.sys),
            library_version: driver::library_version(self.library.as_deref()),
            gpus: self.bus.as_ref().map(Vec::len),
        };
        let problem = driver::problem(failure, &around);
        if self.problem.as_ref() != Some(&problem) {
            tracing::info!(cause = problem.cause, ?failure, "no NVIDIA devices");
        }
        self.problem = Some(problem);
    }

    /// Asks who is there. Counting through the library's list wakes sleepers, so then the bus's list is used.
    fn find(&self, library: &Library, asleep: &[String]) -> Answer<Vec<(Address, Answer<Identity>)>> {
        if asleep.is_empty() {
            return Ok(library.list()?.into_iter().map(|found| (Address::Index(found.index), found.identity)).collect());
        }
        let awake = self.bus.iter().flatten().filter(|gpu| !asleep.contains(&gpu.address));
        let found = awake.map(|gpu| {
            let address = Address::Pci(gpu.address.clone());
            let identity = library.identity(&address);
            (address, identity)
        });
        // A container sees the whole bus but not every GPU.
        Ok(found.filter(|(_, identity)| !matches!(identity, Err(Refusal::Never(_)))).collect())
    }

    /// Numbers what was found and adds it to what is known.
    fn take_in(&mut self, found: Vec<(Address, Answer<Identity>)>, asleep: &[String], now: Timestamp) {
        let sleepers = asleep.iter().map(|address| {
            let identity = Identity { pci: Some(address.clone()), ..Identity::default() };
            (Address::Pci(address.clone()), Ok(identity))
        });
        let all: Vec<(Address, Answer<Identity>)> = found.into_iter().chain(sleepers).collect();
        let entries: Vec<Entry> = all.iter().map(|(address, identity)| entry(address, identity)).collect();
        let ids = self.roster.number(&entries);
        for gpu in &mut self.gpus {
            if !ids.contains(&gpu.id) {
                gpu.gone("the driver does not list it any more", now);
            }
        }
        for ((id, entry), (address, _)) in ids.into_iter().zip(entries).zip(all) {
            let sleeps = entry.identity.pci.as_ref().is_some_and(|pci| asleep.contains(pci));
            let at = self.gpus.iter().position(|gpu| gpu.id == id).unwrap_or_else(|| {
                self.gpus.push(Gpu::new(id, Identity::default(), address.clone()));
                self.gpus.len() - 1
            });
            self.gpus[at].found(entry.identity, address);
            self.gpus[at].asleep = sleeps;
        }
        self.gpus.sort_by_key(|gpu| gpu.id);
    }

    /// Gives the driver up; every device is lost until it is open again.
    fn close(&mut self, reason: &str, now: Timestamp) {
        // The driver is opened again when it was last opened long enough ago; one that opens and fails at once is not hammered.
        self.session = None;
        for gpu in &mut self.gpus {
            gpu.gone(reason, now);
        }
    }

    fn read_gpus(&mut self, now: Timestamp, ask: &Ask) -> Result<(), Closed> {
        let Some(session) = &self.session else { return Ok(()) };
        let mut fresh: BTreeMap<usize, Vec<Fresh>> = BTreeMap::new();
        for (place, gpu) in self.gpus.iter_mut().enumerate() {
            let bus = if ask.bus.contains(&gpu.id) { Onlookers::Somebody } else { Onlookers::Nobody };
            fresh.insert(place, gpu.read(&session.library, now, bus, &mut self.roster)?);
        }
        self.names.refresh(&pids(&fresh), now);
        for (place, rows) in fresh {
            for new in rows {
                let Some(row) = self.gpus[place].row_mut(new.place) else { continue };
                match merge(&new.processes, row.memory.map(|m| m.total)) {
                    Ok(merged) => row.processes = describe(merged, &ask.engines, |pid| self.names.get(pid), now),
                    Err(garbled) => {
                        row.why.insert("processes".to_owned(), garbled.to_string());
                    }
                }
            }
        }
        Ok(())
    }

    fn sample(&self, now: Timestamp) -> Sample {
        let devices: Vec<DeviceReading> = self.gpus.iter().flat_map(|gpu| gpu.rows(now)).collect();
        let host = HostReading {
            driver: self.session.as_ref().and_then(|s| s.driver.clone()),
            cuda: self.session.as_ref().and_then(|s| s.cuda.clone()),
            gpu_problem: self.problem.clone(),
            ..HostReading::default()
        };
        Sample { devices, host }
    }
}

impl Probe for NvidiaProbe {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn read(&mut self, now: Timestamp, ask: &Ask) -> Sample {
        self.look_around(now);
        let all_lost = !self.gpus.is_empty() && self.gpus.iter().all(|gpu| gpu.asleep || gpu.is_lost());
        if all_lost && self.gpus.iter().any(|gpu| gpu.is_lost() && gpu.is_due(now)) {
            self.session = None;
        }
        self.open_if_due(now);
        if let Err(closed) = self.read_gpus(now, ask) {
            tracing::warn!(closed.reason, "the NVIDIA driver went away");
            self.close(&closed.reason, now);
            self.open_if_due(now);
        }
        self.sample(now)
    }

    fn silence(&self) -> Option<GpuProblem> {
        Some(driver::silent())
    }
}

fn entry(address: &Address, identity: &Answer<Identity>) -> Entry {
    match (identity, address) {
        (Ok(identity), _) => Entry { identity: identity.clone(), usable: true },
        (Err(_), Address::Index(index)) => Entry { identity: Identity { index: Some(*index), ..Identity::default() }, usable: false },
        (Err(_), Address::Pci(pci)) => Entry { identity: Identity { pci: Some(pci.clone()), ..Identity::default() }, usable: false },
    }
}
