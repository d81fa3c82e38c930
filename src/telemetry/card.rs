//! What NVML said of one GPU, in plain values, and how that becomes a reading.
//!
//! Pure. Every question has an answer or a refusal; a refusal becomes a reason, never a 0.

use crate::devices::{DeviceKind, DeviceReading, Ecc, Extras, Memory};
use crate::telemetry::condition::Verdict;
use crate::telemetry::listener;
use crate::telemetry::processes::RawProcess;
use crate::units::{Bytes, Capability, DeviceId};

/// Where the readings come from.
pub(super) const SOURCE: &str = "nvml";

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This device, this driver or this user never gets an answer.
    Never(String),
    /// It failed this time.
    Failed(String),
    /// The device is lost or needs a reset.
    Gone(String),
    /// The driver went away under the library; nothing can be asked before it is opened again.
    Closed(String),
}

impl Refusal {
    /// Returns the reason.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Never(reason) | Self::Failed(reason) | Self::Gone(reason) | Self::Closed(reason) => reason,
        }
    }
}

/// An answer or why there is none.
pub(super) type Answer<T> = Result<T, Refusal>;

/// Who a device is; does not change while it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: Option<String>,
    pub(super) uuid: Option<String>,
    /// As sysfs writes it, `0000:01:00.0`.
    pub(super) pci: Option<String>,
    /// Its place in the library's list; all that is known of a device which was lost before it told its name.
    pub(super) index: Option<u32>,
}

impl Identity {
    /// Returns whether both are one device: by UUID, by PCI address where a UUID is not known, else by place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.uuid, &other.uuid, &self.pci, &other.pci) {
            (Some(a), Some(b), ..) | (_, _, Some(a), Some(b)) => a == b,
            _ => self.index.is_some() && self.index == other.index,
        }
    }

    /// Adds what `newer` knows.
    pub(super) fn learn(&mut self, newer: Self) {
        self.name = newer.name.or(self.name.take());
        self.uuid = newer.uuid.or(self.uuid.take());
        self.pci = newer.pci.or(self.pci.take());
        self.index = newer.index.or(self.index);
    }
}

/// Bus traffic in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Traffic {
    pub(super) rx_bps: f64,
    pub(super) tx_bps: f64,
}

/// Everything that was asked of one device.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) capability: Answer<Capability>,
    pub(super) memory: Answer<Memory>,
    /// Percent.
    pub(super) utilization: Answer<u32>,
    pub(super) temperature_c: Answer<u32>,
    pub(super) power_mw: Answer<u32>,
    pub(super) power_limit_mw: Answer<u32>,
    /// Percent, for each fan.
    pub(super) fans: Answer<Vec<u32>>,
    pub(super) sm_mhz: Answer<u32>,
    pub(super) mem_mhz: Answer<u32>,
    pub(super) pcie_generation: Answer<u32>,
    pub(super) pcie_width: Answer<u32>,
    pub(super) more: More,
    /// `None` where nobody looks.
    pub(super) traffic: Option<Answer<Traffic>>,
    /// Compute, graphics and MPS clients, as the driver lists them.
    pub(super) processes: Answer<Vec<RawProcess>>,
    /// Whether the device is split into slices.
    pub(super) mig: bool,
}

/// How far a device could go, and what keeps it from it.
#[derive(Debug, Clone)]
pub(super) struct More {
    pub(super) performance_state: Answer<u32>,
    pub(super) throttle: Answer<Vec<&'static str>>,
    pub(super) sm_max_mhz: Answer<u32>,
    pub(super) mem_max_mhz: Answer<u32>,
    pub(super) slowdown_c: Answer<u32>,
    pub(super) pcie_max_generation: Answer<u32>,
    pub(super) pcie_max_width: Answer<u32>,
    pub(super) ecc: Answer<Ecc>,
}

impl More {
    /// Returns the same refusal for every question.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let no = || refusal.clone();
        Self {
            performance_state: Err(no()),
            throttle: Err(no()),
            sm_max_mhz: Err(no()),
            mem_max_mhz: Err(no()),
            slowdown_c: Err(no()),
            pcie_max_generation: Err(no()),
            pcie_max_width: Err(no()),
            ecc: Err(no()),
        }
    }
}

/// Counts how the questions went and keeps the reasons.
struct Tally<'a> {
    reading: &'a mut DeviceReading,
    answered: usize,
    failed: Option<String>,
    gone: Option<String>,
    closed: Option<String>,
}

impl Tally<'_> {
    fn take<T>(&mut self, name: &str, answer: Answer<T>) -> Option<T> {
        match answer {
            Ok(value) => {
                self.answered += 1;
                Some(value)
            }
            Err(refusal) => {
                let reason = refusal.reason().to_owned();
                self.reading.why.insert(name.to_owned(), reason.clone());
                match refusal {
                    Refusal::Never(_) => {}
                    Refusal::Failed(_) => self.failed = self.failed.take().or(Some(reason)),
                    Refusal::Gone(_) => self.gone = self.gone.take().or(Some(reason)),
                    Refusal::Closed(_) => self.closed = self.closed.take().or(Some(reason)),
                }
                None
            }
        }
    }

    fn verdict(self) -> Result<Verdict, Closed> {
        match (self.closed, self.gone, self.failed, self.answered) {
            (Some(reason), ..) => Err(Closed { reason }),
            (None, Some(reason), ..) => Ok(Verdict::Gone(reason)),
            (None, None, Some(reason), 0) => Ok(Verdict::Missed(reason)),
            (None, None, Some(_), _) => Ok(Verdict::Partly),
            (None, None, None, _) => Ok(Verdict::Answered),
        }
    }
}

/// The library has to be opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) reason: String,
}

/// A reading, how the attempt went, and the process list, which needs names before it can be shown.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) reading: DeviceReading,
    pub(super) verdict: Verdict,
    pub(super) processes: Vec<RawProcess>,
}

/// Returns a row that says who the device is and nothing more.
pub(super) fn row(id: DeviceId, identity: &Identity) -> DeviceReading {
    let mut reading = DeviceReading::unknown(id, DeviceKind::Cuda, SOURCE);
    reading.name.clone_from(&identity.name);
    reading.uuid.clone_from(&identity.uuid);
    reading.pci.clone_from(&identity.pci);
    reading.why.insert(listener::NAME.to_owned(), "nobody listens for its faults yet".to_owned());
    reading
}

/// Turns answers into a reading.
pub(super) fn fold(id: DeviceId, identity: &Identity, answers: Answers) -> Result<Folded, Closed> {
    // A device that lists no fan, or no memory of its own, answers with 0; that is absence.
    let memory = answers.memory.and_then(whole_memory);
    let fans = answers.fans.and_then(|fans| fans.into_iter().max().ok_or_else(|| Refusal::Never("has no fan".to_owned())));
    let utilization = answers.utilization.map_err(|refusal| match refusal {
        Refusal::Never(_) if answers.mig => Refusal::Never("not measured on a GPU that is split into MIG slices".to_owned()),
        other => other,
    });
    let (rx, tx) = match answers.traffic {
        Some(traffic) => (traffic.clone().map(|t| t.rx_bps), traffic.map(|t| t.tx_bps)),
        None => (Err(not_asked()), Err(not_asked())),
    };

    let mut reading = row(id, identity);
    reading.mig = answers.mig;
    let mut tally = Tally { reading: &mut reading, answered: 0, failed: None, gone: None, closed: None };
    let capability = tally.take("capability", answers.capability);
    let memory = tally.take("memory", memory);
    let utilization = tally.take("utilization", utilization.and_then(percent));
    let temperature_c = tally.take("temperature_c", answers.temperature_c);
    let power_mw = tally.take("power_w", answers.power_mw);
    let power_limit_mw = tally.take("power_limit_w", answers.power_limit_mw);
    let fan = tally.take("fan", fans);
    let sm_mhz = tally.take("clocks.sm_mhz", answers.sm_mhz);
    let mem_mhz = tally.take("clocks.mem_mhz", answers.mem_mhz);
    let generation = tally.take("pcie.generation", answers.pcie_generation);
    let width = tally.take("pcie.width", answers.pcie_width);
    let rx_bps = tally.take("pcie.rx_bps", rx);
    let tx_bps = tally.take("pcie.tx_bps", tx);
    let extras = extras(&mut tally, answers.more);
    let processes = tally.take("processes", answers.processes);
    let verdict = tally.verdict()?;

    reading.capability = capability;
    reading.memory = memory;
    reading.utilization = utilization;
    reading.temperature_c = temperature_c.map(f64::from);
    reading.power_w = power_mw.map(|mw| f64::from(mw) / 1000.0);
    reading.power_limit_w = power_limit_mw.map(|mw| f64::from(mw) / 1000.0);
    reading.fan = fan.map(|percent| f64::from(percent) / 100.0);
    reading.clocks.sm_mhz = sm_mhz;
    reading.clocks.mem_mhz = mem_mhz;
    reading.pcie.generation = generation;
    reading.pcie.width = width;
    reading.pcie.rx_bps = rx_bps;
    reading.pcie.tx_bps = tx_bps;
    reading.extras = extras;
    Ok(Folded { reading, verdict, processes: processes.unwrap_or_default() })
}

fn extras(tally: &mut Tally<'_>, more: More) -> Extras {
    let throttle = tally.take("extras.throttle", more.throttle);
    Extras {
        performance_state: tally.take("extras.performance_state", more.performance_state),
        throttle: throttle.map(|reasons| reasons.into_iter().map(str::to_owned).collect()),
        sm_max_mhz: tally.take("extras.sm_max_mhz", more.sm_max_mhz),
        mem_max_mhz: tally.take("extras.mem_max_mhz", more.mem_max_mhz),
        slowdown_c: tally.take("extras.slowdown_c", more.slowdown_c).map(f64::from),
        pcie_max_generation: tally.take("extras.pcie_max_generation", more.pcie_max_generation),
        pcie_max_width: tally.take("extras.pcie_max_width", more.pcie_max_width),
        ecc: tally.take("extras.ecc", more.ecc),
        // Heard, not asked.
        xid: None,
    }
}

fn not_asked() -> Refusal {
    Refusal::Never("measured only while somebody looks at it".to_owned())
}

fn whole_memory(memory: Memory) -> Answer<Memory> {
    if memory.total == Bytes::ZERO {
        Err(Refusal::Never("has no memory of its own: it shares the host's, see cpu".to_owned()))
    } else if memory.used > memory.total || memory.free > memory.total {
        Err(Refusal::Failed("the driver claims more memory in use than there is".to_owned()))
    } else {
        Ok(memory)
    }
}

fn percent(percent: u32) -> Answer<f64> {
    if percent <= 100 { Ok(f64::from(percent) / 100.0) } else { Err(Refusal::Failed(format!("the driver claims {percent} %"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Refusal {
        Refusal::Never("not supported by this device".to_owned())
    }

    fn gib(n: u64) -> Bytes {
        Bytes::gib(n)
    }

    fn healthy() -> Answers {
        Answers {
            capability: Ok(Capability::new(8, 9)),
            memory: Ok(Memory { total: gib(24), used: gib(8), free: gib(16) }),
            utilization: Ok(42),
            temperature_c: Ok(61),
            power_mw: Ok(312_500),
            power_limit_mw: Ok(450_000),
            fans: Ok(vec![30, 44]),
            sm_mhz: Ok(2520),
            mem_mhz: Ok(10_501),
            pcie_generation: Ok(4),
            pcie_width: Ok(16),
            more: More {
                performance_state: Ok(2),
                throttle: Ok(vec!["power cap"]),
                sm_max_mhz: Ok(3105),
                mem_max_mhz: Ok(10_501),
                slowdown_c: Ok(90),
                pcie_max_generation: Ok(4),
                pcie_max_width: Ok(16),
                ecc: Ok(Ecc { enabled: true, corrected: Some(0), uncorrected: Some(0) }),
            },
            traffic: None,
            processes: Ok(vec![]),
            mig: false,
        }
    }

    fn refused(refusal: &Refusal) -> Answers {
        let no = refusal.clone();
        Answers {
            capability: Err(no.clone()),
            memory: Err(no.clone()),
            utilization: Err(no.clone()),
            temperature_c: Err(no.clone()),
            power_mw: Err(no.clone()),
            power_limit_mw: Err(no.clone()),
            fans: Err(no.clone()),
            sm_mhz: Err(no.clone()),
            mem_mhz: Err(no.clone()),
            pcie_generation: Err(no.clone()),
            pcie_width: Err(no.clone()),
            more: More::refused(refusal),
            traffic: None,
            processes: Err(no),
            mig: false,
        }
    }

    fn folded(answers: Answers) -> Folded {
        fold(DeviceId::Cuda(0), &Identity::default(), answers).unwrap()
    }

    #[test]
    fn units_are_ours() {
        let reading = folded(healthy()).reading;
        assert_eq!(reading.utilization, Some(0.42));
        assert_eq!(reading.power_w, Some(312.5));
        assert_eq!(reading.fan, Some(0.44), "the fastest fan");
        assert_eq!(reading.absent(), ["pcie.rx_bps", "pcie.tx_bps", "extras.xid"]);
    }

    #[test]
    fn nothing_is_ever_zero_for_want_of_an_answer() {
        let folded = folded(refused(&never()));
        assert_eq!(folded.reading.absent().len(), 22);
        for name in folded.reading.absent() {
            assert!(folded.reading.why.contains_key(name), "{name} has no reason");
        }
        assert_eq!(folded.verdict, Verdict::Answered, "a device that never tells anything is not ill");
    }

    #[test]
    fn answers_that_mean_absence_are_absent() {
        let zero = Memory { total: Bytes::ZERO, used: Bytes::ZERO, free: Bytes::ZERO };
        let reading = folded(Answers { memory: Ok(zero), fans: Ok(vec![]), ..healthy() }).reading;
        assert_eq!((reading.memory, reading.fan), (None, None));
        assert!(reading.why["memory"].contains("shares the host's"));
        assert_eq!(reading.why["fan"], "has no fan");
    }

    #[test]
    fn impossible_answers_are_refused() {
        let much = Memory { total: gib(24), used: gib(25), free: gib(0) };
        let folded = folded(Answers { memory: Ok(much), utilization: Ok(4_000_000), ..healthy() });
        assert_eq!((folded.reading.memory, folded.reading.utilization), (None, None));
        assert_eq!(folded.verdict, Verdict::Partly);
    }

    #[test]
    fn the_worst_refusal_decides() {
        let failed = Refusal::Failed("unknown".to_owned());
        let gone = Refusal::Gone("lost".to_owned());
        let verdict = |answers| folded(answers).verdict;
        assert_eq!(verdict(Answers { power_mw: Err(never()), ..healthy() }), Verdict::Answered);
        assert_eq!(verdict(Answers { power_mw: Err(failed.clone()), ..healthy() }), Verdict::Partly);
        assert_eq!(verdict(refused(&failed)), Verdict::Missed("unknown".to_owned()));
        assert_eq!(verdict(Answers { memory: Err(gone), power_mw: Err(failed), ..healthy() }), Verdict::Gone("lost".to_owned()));
        let closed = Answers { power_mw: Err(Refusal::Closed("driver not loaded".to_owned())), ..healthy() };
        assert!(fold(DeviceId::Cuda(0), &Identity::default(), closed).is_err());
    }

    #[test]
    fn a_split_gpu_says_why_it_has_no_utilization() {
        let reading = folded(Answers { utilization: Err(never()), mig: true, ..healthy() }).reading;
        assert!(reading.mig);
        assert!(reading.why["utilization"].contains("MIG"));
    }
}
