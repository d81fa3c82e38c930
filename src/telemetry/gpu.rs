//! One NVIDIA GPU over time: asked when it should be, its last values kept when it does not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::devices::{DeviceReading, Health};
use crate::telemetry::card::{Answer, Answers, Closed, Identity, Refusal, Traffic, fold, row};
use crate::telemetry::condition::{Condition, Verdict};
use crate::telemetry::listener;
use crate::telemetry::nvml::{Address, Bus, Library};
use crate::telemetry::processes::RawProcess;
use crate::telemetry::roster::{Entry, Roster};
use crate::units::{DeviceId, Timestamp};

/// Bus traffic is not measured more often than this: a measurement blocks for 20 ms and more.
const BUS_EVERY: Duration = Duration::from_secs(2);

/// Whether somebody looks at the traffic on a device's bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onlookers {
    Nobody,
    Somebody,
}

/// A row whose processes have no names yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) place: usize,
    pub(super) processes: Vec<RawProcess>,
}

/// One GPU, and its slices where it is split.
#[derive(Debug)]
pub(super) struct Gpu {
    pub(super) id: DeviceId,
    pub(super) identity: Identity,
    pub(super) asleep: bool,
    address: Address,
    condition: Condition,
    /// The GPU's last row, then one for each slice.
    rows: Vec<DeviceReading>,
    traffic: Option<(Timestamp, Answer<Traffic>)>,
}

impl Gpu {
    pub(super) fn new(id: DeviceId, identity: Identity, address: Address) -> Self {
        Self { id, identity, asleep: false, address, condition: Condition::default(), rows: Vec::new(), traffic: None }
    }

    /// Takes note that an open library lists the device.
    pub(super) fn found(&mut self, identity: Identity, address: Address) {
        self.identity.learn(identity);
        self.address = address;
        self.condition.try_soon();
    }

    /// Takes note that the device is not there.
    pub(super) fn gone(&mut self, reason: &str, now: Timestamp) {
        self.note(Verdict::Gone(reason.to_owned()), now);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.condition.is_lost()
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.condition.is_due(now)
    }

    /// Asks the device, unless it sleeps or was lost a moment ago. Returns the rows that are new.
    pub(super) fn read(&mut self, library: &Library, now: Timestamp, bus: Onlookers, roster: &mut Roster) -> Result<Vec<Fresh>, Closed> {
        if self.asleep || !self.condition.is_due(now) {
            return Ok(Vec::new());
        }
        let asked = self.find(library).and_then(|()| self.ask(library, now, bus));
        let answers = match asked {
            Ok(answers) => answers,
            Err(refusal) => return self.refused(refusal, now).map(|()| Vec::new()),
        };
        let is_split = answers.mig;
        let folded = fold(self.id, &self.identity, answers)?;
        let told = matches!(folded.verdict, Verdict::Answered | Verdict::Partly);
        self.note(folded.verdict, now);
        if !told {
            return Ok(Vec::new());
        }
        self.rows = vec![folded.reading];
        let mut fresh = vec![Fresh { place: 0, processes: folded.processes }];
        if is_split {
            match library.slices(&self.address) {
                Ok(slices) => self.add_slices(slices, roster, &mut fresh)?,
                Err(Refusal::Closed(reason)) => return Err(Closed { reason }),
                Err(refusal) => {
                    self.rows[0].why.insert("slices".to_owned(), refusal.reason().to_owned());
                }
            }
        }
        Ok(fresh)
    }

    /// Makes sure that `address` leads to this device and that we know who it is.
    fn find(&mut self, library: &Library) -> Answer<()> {
        if let (true, Some(uuid)) = (self.condition.is_lost(), &self.identity.uuid) {
            self.address = library.find(uuid).map_err(|refusal| match refusal {
                Refusal::Never(_) => Refusal::Gone("the driver does not list it any more".to_owned()),
                other => other,
            })?;
        }
        if self.identity.uuid.is_none() || self.identity.name.is_none() {
            let identity = library.identity(&self.address)?;
            self.identity.learn(identity);
        }
        Ok(())
    }

    fn ask(&mut self, library: &Library, now: Timestamp, bus: Onlookers) -> Answer<Answers> {
        let recent = self.traffic.take_if(|(at, _)| now < *at || now.since(*at) >= BUS_EVERY);
        if recent.is_some() || bus == Onlookers::Nobody {
            self.traffic = None;
        }
        let measure = if bus == Onlookers::Somebody && self.traffic.is_none() { Bus::Measure } else { Bus::Skip };
        let mut answers = library.ask(&self.address, measure)?;
        match &answers.traffic {
            Some(traffic) => self.traffic = Some((now, traffic.clone())),
            None => answers.traffic = self.traffic.as_ref().map(|(_, traffic)| traffic.clone()),
        }
        Ok(answers)
    }

    /// The device as a whole refuses.
    fn refused(&mut self, refusal: Refusal, now: Timestamp) -> Result<(), Closed> {
        match refusal {
            Refusal::Closed(reason) => return Err(Closed { reason }),
            Refusal::Gone(reason) => self.note(Verdict::Gone(reason), now),
            Refusal::Failed(reason) => self.note(Verdict::Missed(reason), now),
            Refusal::Never(reason) => {
                // It is well; it is just not for us.
                self.note(Verdict::Answered, now);
                let mut row = row(self.id, &self.identity);
                row.explain_absent(&reason);
                row.error = Some(reason);
                self.rows = vec![row];
            }
        }
        Ok(())
    }

    fn add_slices(&mut self, slices: Vec<(Identity, Answers)>, roster: &mut Roster, fresh: &mut Vec<Fresh>) -> Result<(), Closed> {
        for (mut identity, answers) in slices {
            // Slices share the GPU's address; only the UUID tells them apart.
            identity.pci.clone_from(&self.identity.pci);
            let entry = Entry { identity: identity.clone(), usable: true };
            let id = roster.number(std::slice::from_ref(&entry))[0];
            let mut folded = fold(id, &identity, answers)?;
            folded.reading.parent = Some(self.id);
            folded.reading.why.insert(listener::NAME.to_owned(), "told of the whole GPU only".to_owned());
            fresh.push(Fresh { place: self.rows.len(), processes: folded.processes });
            self.rows.push(folded.reading);
        }
        Ok(())
    }

    fn note(&mut self, verdict: Verdict, now: Timestamp) {
        let before = self.condition.is_lost();
        self.condition.note(verdict, now);
        match (before, self.condition.health(now)) {
            (false, Health::Lost { reason, .. }) => tracing::warn!(device = %self.id, reason, "lost a GPU"),
            (true, Health::Ok | Health::Degraded { .. }) => tracing::info!(device = %self.id, "a lost GPU answers again"),
            _ => {}
        }
    }

    /// Returns a row of the last reading, to put names into.
    pub(super) fn row_mut(&mut self, place: usize) -> Option<&mut DeviceReading> {
        self.rows.get_mut(place)
    }

    /// Returns the rows to show.
    pub(super) fn rows(&self, now: Timestamp) -> Vec<DeviceReading> {
        if self.asleep {
            let mut row = row(self.id, &self.identity);
            row.health = Health::Asleep;
            row.explain_absent("asleep: asking would wake it");
            return vec![row];
        }
        let mut rows = self.rows.clone();
        if rows.is_empty() {
            rows.push(row(self.id, &self.identity));
        }
        let health = self.condition.health(now);
        for row in &mut rows {
            row.health = health.clone();
            row.age_s = self.condition.age(now).as_secs_f64();
            if let Health::Lost { reason, .. } = &health {
                row.error = Some(reason.clone());
                row.explain_absent(reason);
            } else {
                row.explain_absent("not read yet");
            }
        }
        rows
    }
}

/// All process ids of the rows that are new.
pub(super) fn pids(fresh: &BTreeMap<usize, Vec<Fresh>>) -> std::collections::BTreeSet<u32> {
    fresh.values().flatten().flat_map(|f| &f.processes).map(|p| p.pid).collect()
}
