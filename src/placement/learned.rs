//! What runs and calibrations have shown of a machine: how fast it is, and how well steps were foretold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::budget::Room;
use super::machine::{Machine, Speed};
use super::pace::{Pace, Sample, Walk};
use crate::units::{DeviceId, Timestamp};
use crate::weights::{BlockKind, Precision};

/// Forecasts that are remembered, the newest: a machine changes, and old ones say little.
pub const FORECASTS: usize = 200;
/// Sizes that are remembered of one network, the newest.
pub const SIZES: usize = 16;
/// What differs by less is the same speed, measured again: both count. What differs by more takes the other's place.
const SAME: f64 = 0.1;

/// What is assumed of the page cache: having its pages mapped, without copying.
const PAGE_CACHE: Speed = Speed { flops: 0.0, bytes_per_second: 20e9, measured: false };

/// Whether the page cache holds a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// All of them.
    Cached,
    /// This share of their bytes.
    Partly(f64),
    /// Nothing of them.
    OnDisk,
}

/// What is so fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A donor of weights, as a streamed block comes from it: of the processor to a GPU, from pinned memory, or through pinned
    /// buffers where a run's memory could not be pinned.
    Device(DeviceId),
    /// The disk, where the page cache holds what is asked of it.
    PageCache,
    /// Copying within the memory of the device that computes.
    Memory,
    /// The driver's own way to a GPU from memory that is not pinned. No block comes so: it is shown, and nothing is foretold by it.
    Pageable,
    /// The way from a GPU to pinned memory. No weight goes back: it is shown, and nothing is foretold by it.
    Back,
    /// Computing with blocks of a kind: operations, and bytes of their weights.
    Kind(BlockKind),
}

impl Subject {
    /// Those that are not of a device, with their names.
    const NAMED: [(Self, &'static str); 7] = [
        (Self::PageCache, "page cache"),
        (Self::Memory, "memory"),
        (Self::Pageable, "pageable memory"),
        (Self::Back, "way back"),
        (Self::Kind(BlockKind::Convolution), BlockKind::Convolution.name()),
        (Self::Kind(BlockKind::Attention), BlockKind::Attention.name()),
        (Self::Kind(BlockKind::FeedForward), BlockKind::FeedForward.name()),
    ];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, Self::NAMED.iter().find(|(subject, _)| subject == self)) {
            (_, Some((_, name))) => f.pad(name),
            (Self::Device(device), None) => device.fmt(f),
            (Self::PageCache | Self::Memory | Self::Pageable | Self::Back | Self::Kind(_), None) => f.pad("?"),
        }
    }
}

impl FromStr for Subject {
    type Err = crate::units::ids::DeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::NAMED.iter().find(|(_, name)| *name == text) {
            Some((subject, _)) => Ok(*subject),
            None => text.parse().map(Self::Device),
        }
    }
}

/// Returns a machine of such memory, as fast as is known, for weights from such files.
#[must_use]
pub fn machine(compute: DeviceId, rooms: Vec<Room>, known: &[Learned], files: Files) -> Machine {
    let (mut speeds, mut cache, mut pace) = (Vec::new(), PAGE_CACHE, Pace::assumed(compute));
    for learned in known {
        match learned.finding {
            Finding::Speed(Subject::PageCache, speed) => cache = speed,
            Finding::Speed(Subject::Device(device), speed) if device != compute => speeds.push((device, speed)),
            Finding::Speed(Subject::Memory, speed) => pace.assumed.bytes_per_second = speed.bytes_per_second,
            Finding::Speed(Subject::Kind(kind), speed) => pace.kinds.push((kind, speed)),
            Finding::Speed(Subject::Device(_) | Subject::Pageable | Subject::Back, _) => {}
            Finding::Step(sample) => pace.samples.push(sample),
        }
    }
    let mut machine = Machine { rooms, speeds, pace, latencies: Vec::new() };
    let from_files = match files {
        Files::Cached => cache,
        Files::Partly(share) => mixed(cache, machine.speed(DeviceId::Disk), share),
        Files::OnDisk => return machine,
    };
    machine.speeds.retain(|(device, _)| *device != DeviceId::Disk);
    machine.speeds.push((DeviceId::Disk, from_files));
    machine
}

/// Returns how fast a share of bytes at one speed and the rest at another are together.
fn mixed(one: Speed, other: Speed, share: f64) -> Speed {
    let seconds = share / one.bytes_per_second + (1.0 - share) / other.bytes_per_second;
    Speed { flops: one.flops, bytes_per_second: seconds.recip(), measured: one.measured && other.measured }
}

/// What a measurement holds for: this box, computing so, with that library and driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The device that computes.
    pub compute: DeviceId,
    /// What it computes in.
    pub precision: Precision,
    /// What its engine calls itself: library, card, driver, threads.
    pub engine: String,
}

/// What stands before the driver's version in an engine's name.
const DRIVER: &str = "driver ";

/// Returns what an engine's name says of the driver, behind its card.
#[must_use]
pub fn naming_driver(version: Option<&str>) -> String {
    version.map_or_else(String::new, |version| format!(", {DRIVER}{version}"))
}

impl Basis {
    /// Returns the version of the driver, where the engine said it.
    fn driver(&self) -> Option<&str> {
        self.engine.split(", ").find_map(|part| part.strip_prefix(DRIVER))
    }
}

/// Whose measurements count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Those of the engine that calls itself so.
    Engine(&'a str),
    /// Those of any engine, while none lives: not where it had another driver than there is now.
    Any {
        /// The version of the driver, where it can be told.
        driver: Option<&'a str>,
    },
}

impl Whose<'_> {
    fn has(self, basis: &Basis) -> bool {
        match self {
            Self::Engine(engine) => basis.engine == engine,
            Self::Any { driver } => basis.driver().zip(driver).is_none_or(|(then, now)| then == now),
        }
    }
}

/// Something that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// How fast something is.
    Speed(Subject, Speed),
    /// How long a walk through a network computed.
    Step(Sample),
}

impl Finding {
    /// Returns whether the other one is about the same thing, and takes its place.
    #[must_use]
    pub fn is_about(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Speed(subject, _), Self::Speed(other, _)) => subject == other,
            (Self::Step(sample), Self::Step(other)) => sample.walk == other.walk,
            (Self::Speed(..), Self::Step(_)) | (Self::Step(_), Self::Speed(..)) => false,
        }
    }

    /// Returns whether its numbers are numbers, and such as there can be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fine = |number: f64| number.is_finite() && number >= 0.0;
        match self {
            Self::Speed(_, speed) => fine(speed.flops) && fine(speed.bytes_per_second),
            Self::Step(sample) => fine(sample.walk.flops) && fine(sample.seconds),
        }
    }

    /// Returns it with what an older one alone has measured.
    fn after(self, old: Option<Learned>) -> Self {
        match (self, old.map(|old| old.finding)) {
            (Self::Step(new), Some(Self::Step(old))) => Self::Step(Sample { beyond: new.beyond.or(old.beyond), ..new }),
            (new, _) => new,
        }
    }

    /// Returns what is known where this is measured again; nothing where it has become another one.
    fn again(&self, new: &Self) -> Option<Self> {
        let same = |old: f64, new: f64| (old - new).abs() <= SAME * old.abs();
        match (self, new) {
            (Self::Speed(subject, old), Self::Speed(_, new)) => {
                let is_same = same(old.flops, new.flops) && same(old.bytes_per_second, new.bytes_per_second);
                let mean = Speed {
                    flops: f64::midpoint(old.flops, new.flops),
                    bytes_per_second: f64::midpoint(old.bytes_per_second, new.bytes_per_second),
                    measured: new.measured,
                };
                is_same.then_some(Self::Speed(*subject, mean))
            }
            (Self::Step(old), Self::Step(new)) => {
                let seconds = f64::midpoint(old.seconds, new.seconds);
                let beyond = new.beyond.or(old.beyond);
                same(old.seconds, new.seconds).then_some(Self::Step(Sample { seconds, beyond, ..*old }))
            }
            (Self::Speed(..), Self::Step(_)) | (Self::Step(_), Self::Speed(..)) => None,
        }
    }
}

/// How something was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A run showed it.
    Run,
    /// It was measured on purpose.
    Calibration,
}

/// What was found out about a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// What it holds for.
    pub basis: Basis,
    /// What it is.
    pub finding: Finding,
    /// When it was found.
    pub found: Timestamp,
    /// How.
    pub origin: Origin,
}

/// What a step was expected to take, and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What both hold for.
    pub basis: Basis,
    /// The model set.
    pub model: String,
    /// What was walked through in a step; unknown of old ones.
    pub walk: Option<Walk>,
    /// Seconds that were foretold.
    pub predicted_s: f64,
    /// Seconds of the median step.
    pub measured_s: f64,
    /// Whether it rested on measurements.
    pub calibrated: bool,
}

/// Which forecasts a history is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similar {
    /// Networks of this shape at about this size.
    Size,
    /// Networks of this shape, at other sizes only.
    Network,
}

/// How good forecasts have been.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Runs that were foretold from measurements.
    pub runs: u32,
    /// The median of how far they were off, as a share of what was measured.
    pub median_error: f64,
    /// Which runs these were.
    pub of: Similar,
}

/// Everything that is known of a machine, in the order in which it was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Experience {
    learned: Vec<Learned>,
    forecasts: Vec<Forecast>,
}

impl Experience {
    /// Returns what was known before, the oldest first.
    #[must_use]
    pub fn of(learned: Vec<Learned>, forecasts: Vec<Forecast>) -> Self {
        Self { learned, forecasts }
    }

    /// Takes in what was found and returns what is known from now on. What confirms what was known is counted in; what does
    /// not takes its place.
    pub fn learn(&mut self, new: Learned) -> Learned {
        let old = self.learned.iter().position(|known| known.basis == new.basis && known.finding.is_about(&new.finding));
        let old = old.map(|k| self.learned.remove(k));
        let confirmed = old.clone().and_then(|old| Some(Learned { finding: old.finding.again(&new.finding)?, ..old }));
        let known = confirmed.filter(|_| new.origin == Origin::Run).unwrap_or(Learned { finding: new.finding.after(old), ..new });
        self.learned.push(known.clone());
        self.forget_sizes(&known);
        known
    }

    /// Forgets the oldest sizes of a network where there are too many.
    fn forget_sizes(&mut self, newest: &Learned) {
        let Finding::Step(Sample { walk, .. }) = newest.finding else { return };
        let is_one = |l: &Learned| l.basis == newest.basis && matches!(l.finding, Finding::Step(s) if s.walk.is_like(&walk));
        let mut excess = self.learned.iter().filter(|l| is_one(l)).count().saturating_sub(SIZES);
        self.learned.retain(|l| {
            let goes = excess > 0 && is_one(l);
            excess -= usize::from(goes);
            !goes
        });
    }

    /// Takes in how a forecast came out.
    pub fn foretold(&mut self, forecast: Forecast) {
        self.forecasts.push(forecast);
        let old = self.forecasts.len().saturating_sub(FORECASTS);
        self.forecasts.drain(..old);
    }

    /// Returns all that was found with an engine of this name.
    #[must_use]
    pub fn of_engine(&self, compute: DeviceId, engine: &str) -> Vec<Learned> {
        self.learned.iter().filter(|l| l.basis.compute == compute && l.basis.engine == engine).cloned().collect()
    }

    /// Returns the latest basis on which this device was measured, of those that count.
    #[must_use]
    pub fn basis(&self, compute: DeviceId, precision: Precision, whose: Whose<'_>) -> Option<&Basis> {
        let fits = |basis: &&Basis| basis.compute == compute && basis.precision == precision && whose.has(basis);
        self.learned.iter().rev().map(|l| &l.basis).find(fits)
    }

    /// Returns how fast something is, by whoever measured it last and for whatever device.
    #[must_use]
    pub fn speed_of(&self, subject: Subject) -> Option<(Speed, Timestamp)> {
        self.learned.iter().rev().find_map(|l| match l.finding {
            Finding::Speed(of, speed) if of == subject => Some((speed, l.found)),
            Finding::Speed(..) | Finding::Step(_) => None,
        })
    }

    /// Returns what was found on a basis.
    #[must_use]
    pub fn known(&self, basis: &Basis) -> Vec<Learned> {
        self.learned.iter().filter(|l| l.basis == *basis).cloned().collect()
    }

    /// Returns how good calibrated forecasts of such a walk have been on a basis; of other sizes, where there are none of it.
    #[must_use]
    pub fn history(&self, basis: &Basis, walk: &Walk) -> Option<History> {
        let of = |similar: Similar| {
            let fits = |w: &Walk| match similar {
                Similar::Size => w.is_near(walk),
                Similar::Network => w.is_like(walk),
            };
            let counts = |f: &&Forecast| f.calibrated && f.basis == *basis && f.measured_s > 0.0 && f.walk.as_ref().is_some_and(fits);
            let error = |f: &Forecast| (f.predicted_s - f.measured_s).abs() / f.measured_s;
            let mut errors: Vec<f64> = self.forecasts.iter().filter(counts).map(error).collect();
            errors.sort_unstable_by(f64::total_cmp);
            let median_error = *errors.get(errors.len() / 2)?;
            Some(History { runs: u32::try_from(errors.len()).unwrap_or(u32::MAX), median_error, of: similar })
        };
        of(Similar::Size).or_else(|| of(Similar::Network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    const WALK: Walk = Walk { weights: 1_000, flops: 1e9 };

    fn basis(engine: &str) -> Basis {
        Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: engine.to_owned() }
    }

    fn speed(bytes_per_second: f64) -> Speed {
        Speed { flops: 0.0, bytes_per_second, measured: true }
    }

    fn learned(engine: &str, finding: Finding) -> Learned {
        Learned { basis: basis(engine), finding, found: Timestamp(0), origin: Origin::Run }
    }

    fn link(engine: &str, subject: Subject, bytes_per_second: f64) -> Learned {
        learned(engine, Finding::Speed(subject, speed(bytes_per_second)))
    }

    fn step(weights: u64, flops: f64, seconds: f64) -> Finding {
        Finding::Step(Sample { walk: Walk { weights, flops }, seconds, beyond: None })
    }

    const DISK: Subject = Subject::Device(DeviceId::Disk);

    #[test]
    fn the_newest_speed_of_each_engine_counts() {
        let mut known = Experience::default();
        known.learn(link("old", DISK, 1.0));
        known.learn(link("new", DISK, 2.0));
        known.learn(link("new", Subject::PageCache, 9.0));
        known.learn(link("new", DISK, 3.0));
        let any = Whose::Any { driver: None };
        let newest = known.basis(DeviceId::Cpu, Precision::Fp32, any).unwrap();
        assert_eq!(newest.engine, "new");
        let findings: Vec<Finding> = known.known(newest).into_iter().map(|l| l.finding).collect();
        assert_eq!(findings, [Finding::Speed(Subject::PageCache, speed(9.0)), Finding::Speed(DISK, speed(3.0))]);
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Fp32, Whose::Engine("old")), Some(&basis("old")));
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Fp32, Whose::Engine("another")), None);
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Bf16, any), None);
        assert_eq!((known.of_engine(DeviceId::Cpu, "old").len(), known.of_engine(DeviceId::Cuda(0), "old").len()), (1, 0));
    }

    #[test]
    fn what_was_measured_with_another_driver_does_not_count() {
        let name = |driver| format!("libtorch 2.11.0 with CUDA 13.0, a card{}, device 0 of 1", naming_driver(driver));
        let (older, newer, untold) = (name(Some("580.82.07")), name(Some("580.95.05")), name(None));
        let mut known = Experience::default();
        let mut newest = |engine: &str, whose| {
            known.learn(link(engine, DISK, 1.0));
            known.basis(DeviceId::Cpu, Precision::Fp32, whose).map(|b| b.engine.clone())
        };
        let any = |driver| Whose::Any { driver };
        assert_eq!(newest(&older, Whose::Engine(&newer)), None);
        assert_eq!(newest(&older, any(Some("580.95.05"))), None);
        assert_eq!(newest(&older, any(Some("580.82.07"))).as_deref(), Some(&*older));
        assert_eq!(newest(&newer, any(Some("580.82.07"))).as_deref(), Some(&*older), "somebody went back");
        assert_eq!(newest(&newer, any(None)).as_deref(), Some(&*newer));
        assert_eq!(newest(&untold, any(Some("580.95.05"))).as_deref(), Some(&*untold));
    }

    #[test]
    fn a_run_confirms_a_speed_or_replaces_it() {
        let mut known = Experience::default();
        let calibrated = Learned { origin: Origin::Calibration, ..link("new", DISK, 100.0) };
        assert_eq!(known.learn(calibrated.clone()), calibrated);
        let again = known.learn(Learned { found: Timestamp(9), ..link("new", DISK, 108.0) });
        assert_eq!(again, Learned { finding: Finding::Speed(DISK, speed(104.0)), ..calibrated.clone() });
        let other = Learned { found: Timestamp(9), ..link("new", DISK, 120.0) };
        assert_eq!(known.learn(other.clone()), other);
        assert_eq!(known.learn(calibrated.clone()), calibrated, "what is measured on purpose counts as it is");
        known.learn(learned("new", step(1_000, 1e9, 1.0)));
        assert_eq!(known.learn(learned("new", step(1_000, 1e9, 1.0625))).finding, step(1_000, 1e9, 1.03125));
        assert_eq!(known.learn(learned("new", step(1_000, 1e9, 0.5))).finding, step(1_000, 1e9, 0.5));
        known.learn(learned("new", step(1_000, 2e9, 2.0)));
        assert_eq!(known.known(&basis("new")).len(), 3, "another size is another matter");
    }

    #[test]
    fn memory_that_a_step_took_is_not_forgotten_by_a_step_that_nobody_looked_at() {
        let step = |seconds, beyond| Finding::Step(Sample { walk: Walk { weights: 1, flops: 1.0 }, seconds, beyond });
        let mib = |n| Some(Bytes::mib(n));
        assert_eq!(step(1.0, mib(5)).again(&step(1.0, None)), Some(step(1.0, mib(5))));
        assert_eq!(step(1.0, mib(5)).again(&step(1.0, mib(7))), Some(step(1.0, mib(7))));
        // Nor by a calibration, whose seconds take the place of any.
        let mut experience = Experience::default();
        let told = |finding, origin| Learned { basis: basis("libtorch"), finding, found: Timestamp(0), origin };
        drop(experience.learn(told(step(1.0, mib(5)), Origin::Run)));
        assert_eq!(experience.learn(told(step(1.0, None), Origin::Calibration)).finding, step(1.0, mib(5)));
        assert_eq!(experience.learn(told(step(9.0, None), Origin::Run)).finding, step(9.0, mib(5)));
    }

    #[test]
    fn of_many_sizes_the_newest_are_kept() {
        let mut known = Experience::default();
        known.learn(learned("new", step(77, 1.0, 1.0)));
        for n in 0..2 * SIZES {
            known.learn(learned("new", step(1_000, n as f64, 1.0)));
        }
        let kept = known.known(&basis("new"));
        assert_eq!((kept.len(), kept[0].finding, kept[1].finding), (SIZES + 1, step(77, 1.0, 1.0), step(1_000, SIZES as f64, 1.0)));
    }

    /// Whether memory can be pinned shows when it is loaded into, and not before.
    #[test]
    fn host_memory_is_as_fast_as_it_came_last_pinned_or_not() {
        const HOST: Subject = Subject::Device(DeviceId::Cpu);
        let mut known = Experience::default();
        for (subject, bytes_per_second) in [(HOST, 25e9), (Subject::Back, 24e9), (Subject::Pageable, 6e9)] {
            known.learn(Learned { origin: Origin::Calibration, ..link("", subject, bytes_per_second) });
        }
        let host = |known: &Experience| {
            let known = known.known(&basis(""));
            machine(DeviceId::Cuda(0), Vec::new(), &known, Files::Cached).speed(DeviceId::Cpu)
        };
        assert_eq!(host(&known), speed(25e9));
        known.learn(link("", HOST, 9e9));
        assert_eq!(host(&known), speed(9e9));
    }

    #[test]
    fn the_disk_is_as_fast_as_where_the_files_are() {
        let known = [link("", DISK, 1.0), link("", Subject::Device(DeviceId::Cpu), 2.0), link("", Subject::PageCache, 3.0)];
        let disk = |known, files| machine(DeviceId::Cuda(0), Vec::new(), known, files).speed(DeviceId::Disk);
        assert_eq!((disk(&known, Files::OnDisk), disk(&known, Files::Cached)), (speed(1.0), speed(3.0)));
        assert_eq!(machine(DeviceId::Cuda(0), Vec::new(), &known, Files::Cached).speed(DeviceId::Cpu), speed(2.0));
        assert_eq!((disk(&known[..2], Files::Cached), disk(&[], Files::OnDisk)), (PAGE_CACHE, Speed::assumed(DeviceId::Disk)));
        assert_eq!(
            machine(DeviceId::Cpu, Vec::new(), &known, Files::OnDisk).speeds,
            [(DeviceId::Disk, speed(1.0))],
            "it is no donor of its own"
        );
    }

    #[test]
    fn files_that_lie_in_memory_in_part_take_the_time_of_both_parts() {
        let known = [link("", DISK, 1.0), link("", Subject::PageCache, 4.0)];
        let disk = |known, share| machine(DeviceId::Cpu, Vec::new(), known, Files::Partly(share)).speed(DeviceId::Disk);
        assert_eq!((disk(&known, 0.0), disk(&known, 1.0)), (speed(1.0), speed(4.0)));
        assert_eq!(disk(&known, 0.5), speed(1.6), "an eighth of a second and a half of one");
        assert!(!disk(&known[1..], 0.5).measured, "what is assumed of the disk is not measured");
    }

    #[test]
    fn what_is_known_of_computing_makes_its_pace() {
        let kind = BlockKind::Attention;
        let known = [link("", Subject::Memory, 7.0), link("", Subject::Kind(kind), 8.0), learned("", step(1_000, 1e9, 1.0))];
        let pace = machine(DeviceId::Cpu, Vec::new(), &known, Files::OnDisk).pace;
        assert_eq!((pace.assumed.bytes_per_second, pace.kinds, pace.samples.len()), (7.0, vec![(kind, speed(8.0))], 1));
        let named = Subject::NAMED.iter().map(|(subject, _)| *subject);
        for subject in named.chain([Subject::Device(DeviceId::Cuda(3))]) {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }

    #[test]
    fn forecasts_from_measurements_are_judged_by_network_and_size() {
        let mut known = Experience::default();
        let forecast = |predicted_s, calibrated, walk| Forecast {
            basis: basis("new"),
            model: "night".to_owned(),
            walk,
            predicted_s,
            measured_s: 1.0,
            calibrated,
        };
        let history = |known: &Experience, engine, flops| known.history(&basis(engine), &Walk { flops, ..WALK });
        assert_eq!(history(&known, "new", 1e9), None);
        for predicted_s in [1.1, 0.7, 1.02] {
            known.foretold(forecast(predicted_s, true, Some(WALK)));
        }
        known.foretold(forecast(9.0, false, Some(WALK)));
        known.foretold(forecast(9.0, true, None));
        known.foretold(forecast(9.0, true, Some(Walk { weights: 9, ..WALK })));
        let found = history(&known, "new", 1.5e9).unwrap();
        assert!(found.runs == 3 && (found.median_error - 0.1).abs() < 1e-9 && found.of == Similar::Size, "{found:?}");
        assert_eq!(history(&known, "new", 1e12).unwrap().of, Similar::Network);
        assert_eq!(history(&known, "old", 1e9), None);
        for _ in 0..FORECASTS {
            known.foretold(forecast(2.0, true, Some(WALK)));
        }
        assert_eq!(history(&known, "new", 1e9), Some(History { runs: 200, median_error: 1.0, of: Similar::Size }));
    }
}
