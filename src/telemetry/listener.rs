//! Listens to what the NVIDIA driver tells by itself: faults of its GPUs, whether anybody watches or not.
//!
//! A thread of its own looks once a second whether something was told; a driver that does not answer hangs this thread alone.
//! What was heard is kept with who it is about, and laid over the rows of every frame.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use crate::devices::{DeviceReading, Faults, Xid};
use crate::telemetry::card::{Answer, Identity};
use crate::telemetry::driver;
use crate::telemetry::nvml::{Address, Library, Told};
use crate::telemetry::pci::{PciGpu, nvidia_gpus};
use crate::units::Timestamp;

/// The name in JSON of what is told.
pub(super) const NAME: &str = "extras.xid";

/// Between two looks whether something was told.
const LOOK: Duration = Duration::from_secs(1);

/// Looks between two at the bus and the driver's version: GPUs fall asleep and wake, and drivers are exchanged.
const LOOKS_PER_SURVEY: u32 = 30;

/// What was heard, and of whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hearsay {
    of: Vec<(Identity, Result<Faults, String>)>,
}

impl Hearsay {
    /// Takes in that a GPU is listened to, or why it cannot be. What was heard of it before stays.
    fn listens(&mut self, identity: Identity, answer: Answer<()>, now: Timestamp) {
        let before = self.of.iter().position(|(known, _)| known.is_same(&identity)).map(|at| self.of.remove(at).1);
        let heard = match (answer, before) {
            (Err(refusal), _) => Err(refusal.reason().to_owned()),
            (Ok(()), Some(Ok(before))) => Ok(before),
            (Ok(()), Some(Err(_)) | None) => Ok(Faults { since: now, count: 0, last: None }),
        };
        self.of.push((identity, heard));
    }

    fn fault(&mut self, identity: &Identity, xid: Xid) {
        if let Some((_, Ok(faults))) = self.of.iter_mut().find(|(known, _)| known.is_same(identity)) {
            tracing::warn!(gpu = identity.pci, "{xid}");
            (faults.count, faults.last) = (faults.count + 1, Some(xid));
        }
    }

    /// Lays what was heard over the rows of those that it is about.
    pub(super) fn dress(&self, devices: &mut [DeviceReading]) {
        for row in devices.iter_mut().filter(|row| row.parent.is_none()) {
            let identity = Identity { name: None, uuid: row.uuid.clone(), pci: row.pci.clone(), index: None };
            match self.of.iter().find(|(known, _)| known.is_same(&identity)) {
                Some((_, Ok(faults))) => {
                    row.extras.xid = Some(faults.clone());
                    row.why.remove(NAME);
                }
                Some((_, Err(reason))) => drop(row.why.insert(NAME.to_owned(), reason.clone())),
                None => {}
            }
        }
    }
}

/// Takes in what was heard, waits so long, and says whether that is enough.
pub(super) type Rest<'a> = dyn FnMut(Duration, &mut Put<'_>) -> ControlFlow<()> + 'a;

/// Puts down what was heard, at a moment.
pub(super) type Put<'a> = dyn FnMut(&mut Hearsay, Timestamp) + 'a;

/// Where the driver is, and where its GPUs are seen.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The NVIDIA library; the system's where absent.
    pub nvml: Option<PathBuf>,
    /// sysfs; `/sys` but for tests.
    pub sys: PathBuf,
}

/// What can be seen without asking the driver.
#[derive(Debug, PartialEq, Eq)]
struct Survey {
    /// Addresses of GPUs, and whether each sleeps; `None` where sysfs cannot be read.
    gpus: Option<Vec<(String, bool)>>,
    driver: Option<String>,
}

impl Survey {
    /// Returns which GPUs can be listened to without waking one; none where there is no hope of any.
    fn awake(&self) -> Option<Vec<Address>> {
        let gpus = self.gpus.as_deref().unwrap_or_default();
        if gpus.iter().all(|(_, asleep)| !asleep) {
            return None;
        }
        let awake = gpus.iter().filter(|(_, asleep)| !asleep);
        Some(awake.map(|(address, _)| Address::Pci(address.clone())).collect())
    }
}

impl Listener {
    /// Listens until `rest` says that it is enough. `rest` waits so long, takes in what was heard meanwhile, and is the only
    /// clock.
    pub(super) fn listen(&self, rest: &mut Rest<'_>) {
        loop {
            let survey = self.survey();
            // A driver that cannot be opened is told of by whoever reads devices.
            if let Ok(library) = self.open(&survey)
                && self.with(&library, &survey, rest).is_break()
            {
                return;
            }
            if rest(LOOK * LOOKS_PER_SURVEY, &mut |_, _| {}).is_break() {
                return;
            }
        }
    }

    fn survey(&self) -> Survey {
        let seen = |gpu: &PciGpu| (gpu.address.clone(), gpu.is_asleep());
        Survey { gpus: nvidia_gpus(&self.sys).map(|gpus| gpus.iter().map(seen).collect()), driver: driver::module_version(&self.sys) }
    }

    /// Opens the driver, where it has GPUs that do not sleep.
    fn open(&self, survey: &Survey) -> Result<Library, ()> {
        let none = self.nvml.is_none() && survey.gpus.as_ref().is_some_and(Vec::is_empty);
        let all_asleep = survey.awake().is_some_and(|awake| awake.is_empty());
        if none || all_asleep {
            return Err(());
        }
        Library::open(self.nvml.as_deref()).map_err(|failure| tracing::debug!(?failure, "nobody listens for faults of GPUs"))
    }

    /// Listens as long as the driver is the same and no GPU falls asleep or wakes.
    fn with(&self, library: &Library, survey: &Survey, rest: &mut Rest<'_>) -> ControlFlow<()> {
        let (mut looks, mut ended) = (0, ControlFlow::Continue(()));
        let mut told = Vec::new();
        let listened = library.listen(survey.awake().as_deref(), &mut |news| match news {
            Told::Quiet => {
                let mut put = |hearsay: &mut Hearsay, now: Timestamp| put_down(hearsay, std::mem::take(&mut told), now);
                ended = rest(LOOK, &mut put);
                looks += 1;
                if ended.is_continue() && looks % LOOKS_PER_SURVEY == 0 && self.survey() != *survey {
                    return ControlFlow::Break(());
                }
                ended
            }
            news => {
                told.push(news);
                ControlFlow::Continue(())
            }
        });
        if let Err(refusal) = listened {
            tracing::debug!(reason = refusal.reason(), "faults of GPUs are not heard of for a while");
        }
        ended
    }
}

fn put_down(hearsay: &mut Hearsay, told: Vec<Told>, now: Timestamp) {
    for news in told {
        match news {
            Told::Listens(identity, answer) => hearsay.listens(identity, answer, now),
            Told::Fault(identity, code) => hearsay.fault(&identity, Xid::new(code, now)),
            Told::Quiet => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceKind;
    use crate::telemetry::card::Refusal;
    use crate::units::DeviceId;

    fn card(uuid: &str) -> Identity {
        Identity { uuid: Some(uuid.to_owned()), ..Identity::default() }
    }

    fn row(uuid: &str) -> DeviceReading {
        DeviceReading { uuid: Some(uuid.to_owned()), ..DeviceReading::unknown(DeviceId::Cuda(0), DeviceKind::Cuda, "nvml") }
    }

    #[test]
    fn what_was_heard_stands_with_whom_it_is_about() {
        let mut hearsay = Hearsay::default();
        hearsay.listens(card("a"), Ok(()), Timestamp(1_000));
        hearsay.listens(card("b"), Err(Refusal::Never("this user may not read it".to_owned())), Timestamp(1_000));
        hearsay.fault(&card("a"), Xid::new(79, Timestamp(2_000)));
        hearsay.fault(&card("c"), Xid::new(31, Timestamp(2_000)));
        // The driver was opened again: what was heard before stays.
        hearsay.listens(card("a"), Ok(()), Timestamp(9_000));
        let mut rows = [row("a"), row("b"), row("c"), DeviceReading { parent: Some(DeviceId::Cuda(0)), ..row("a") }];
        hearsay.dress(&mut rows);
        let faults = rows[0].extras.xid.clone().unwrap();
        assert_eq!((faults.since, faults.count, faults.last.unwrap().code), (Timestamp(1_000), 1, 79));
        assert_eq!((rows[1].extras.xid.as_ref(), rows[1].why[NAME].as_str()), (None, "this user may not read it"));
        assert!(rows[2..].iter().all(|row| row.extras.xid.is_none()), "nobody was heard of, and a slice is no card");
    }

    #[test]
    fn a_gpu_that_sleeps_is_not_listened_to() {
        let survey = |gpus: &[(&str, bool)]| Survey {
            gpus: Some(gpus.iter().map(|(address, asleep)| ((*address).to_owned(), *asleep)).collect()),
            driver: None,
        };
        assert_eq!(survey(&[("0000:01:00.0", false)]).awake(), None);
        assert_eq!(survey(&[("0000:01:00.0", true), ("0000:02:00.0", false)]).awake(), Some(vec![Address::Pci("0000:02:00.0".to_owned())]));
        assert_eq!(survey(&[("0000:01:00.0", true)]).awake(), Some(vec![]));
    }
}
