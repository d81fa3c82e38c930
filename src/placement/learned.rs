//! What runs have shown of a machine: how fast it is, and how well steps were foretold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::budget::Room;
use super::propose::{Machine, Speed};
use crate::units::DeviceId;
use crate::units::ids::DeviceIdError;
use crate::weights::Precision;

/// Forecasts that are remembered, the newest: a machine changes, and old ones say little.
pub const FORECASTS: usize = 200;

/// What is assumed of the page cache: having its pages mapped, without copying.
const PAGE_CACHE: Speed = Speed { flops: 0.0, bytes_per_second: 20e9, measured: false };

/// Whether the page cache holds a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// All of them.
    Cached,
    /// Not all.
    OnDisk,
}

/// What is so fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The device that computes, or a donor of weights for it.
    Device(DeviceId),
    /// The disk, where the page cache holds what is asked of it.
    PageCache,
}

/// How the page cache is called in writing.
const PAGE_CACHE_NAME: &str = "page cache";

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::PageCache => f.pad(PAGE_CACHE_NAME),
        }
    }
}

impl FromStr for Subject {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        if text == PAGE_CACHE_NAME { Ok(Self::PageCache) } else { text.parse().map(Self::Device) }
    }
}

/// Returns a machine of such memory, as fast as is known, for weights from such files.
#[must_use]
pub fn machine(rooms: Vec<Room>, known: &[(Subject, Speed)], files: Files) -> Machine {
    let cache = known.iter().find(|(subject, _)| *subject == Subject::PageCache).map_or(PAGE_CACHE, |(_, speed)| *speed);
    let device = |(subject, speed): &(Subject, Speed)| match (subject, files) {
        (Subject::PageCache, _) | (Subject::Device(DeviceId::Disk), Files::Cached) => None,
        (Subject::Device(device), Files::Cached | Files::OnDisk) => Some((*device, *speed)),
    };
    let cached = match files {
        Files::Cached => Some((DeviceId::Disk, cache)),
        Files::OnDisk => None,
    };
    Machine { rooms, speeds: known.iter().filter_map(device).chain(cached).collect(), latencies: Vec::new() }
}

/// What a measurement holds for: this box, computing so, with that library and driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The device that computes.
    pub compute: DeviceId,
    /// What it computes in.
    pub precision: Precision,
    /// What its engine calls itself: library, driver, threads.
    pub engine: String,
}

/// A speed that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// What it holds for.
    pub basis: Basis,
    /// What is so fast.
    pub subject: Subject,
    /// How fast it is.
    pub speed: Speed,
}

/// What a step was expected to take, and what it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What both hold for.
    pub basis: Basis,
    /// The model set.
    pub model: String,
    /// Seconds that were foretold.
    pub predicted_s: f64,
    /// Seconds of the median step.
    pub measured_s: f64,
    /// Whether it rested on measurements.
    pub calibrated: bool,
}

/// How good forecasts have been.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Runs that were foretold from measurements.
    pub runs: u32,
    /// The median of how far they were off, as a share of what was measured.
    pub median_error: f64,
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

    /// Takes in a speed; what was known instead is forgotten.
    pub fn learn(&mut self, learned: Learned) {
        self.learned.retain(|known| (&known.basis, known.subject) != (&learned.basis, learned.subject));
        self.learned.push(learned);
    }

    /// Takes in how a forecast came out.
    pub fn foretold(&mut self, forecast: Forecast) {
        self.forecasts.push(forecast);
        let old = self.forecasts.len().saturating_sub(FORECASTS);
        self.forecasts.drain(..old);
    }

    /// Returns all speeds that an engine of this name has found.
    #[must_use]
    pub fn of_engine(&self, compute: DeviceId, engine: &str) -> Vec<Learned> {
        self.learned.iter().filter(|l| l.basis.compute == compute && l.basis.engine == engine).cloned().collect()
    }

    /// Returns the latest basis on which this device was measured; by this engine, where one is named.
    #[must_use]
    pub fn basis(&self, compute: DeviceId, precision: Precision, engine: Option<&str>) -> Option<&Basis> {
        let fits =
            |basis: &&Basis| basis.compute == compute && basis.precision == precision && engine.is_none_or(|engine| basis.engine == engine);
        self.learned.iter().rev().map(|l| &l.basis).find(fits)
    }

    /// Returns the speeds that were found on a basis.
    #[must_use]
    pub fn speeds(&self, basis: &Basis) -> Vec<(Subject, Speed)> {
        self.learned.iter().filter(|l| l.basis == *basis).map(|l| (l.subject, l.speed)).collect()
    }

    /// Returns how good calibrated forecasts have been on a basis, if there were any.
    #[must_use]
    pub fn history(&self, basis: &Basis) -> Option<History> {
        let counts = |f: &&Forecast| f.calibrated && f.basis == *basis && f.measured_s > 0.0;
        let mut errors: Vec<f64> =
            self.forecasts.iter().filter(counts).map(|f| (f.predicted_s - f.measured_s).abs() / f.measured_s).collect();
        errors.sort_unstable_by(f64::total_cmp);
        let median_error = *errors.get(errors.len() / 2)?;
        Some(History { runs: u32::try_from(errors.len()).unwrap_or(u32::MAX), median_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(engine: &str) -> Basis {
        Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: engine.to_owned() }
    }

    fn learned(engine: &str, device: DeviceId, flops: f64) -> Learned {
        Learned { basis: basis(engine), subject: Subject::Device(device), speed: Speed { flops, bytes_per_second: 1e9, measured: true } }
    }

    #[test]
    fn the_newest_speed_of_each_engine_counts() {
        let mut known = Experience::default();
        known.learn(learned("old", DeviceId::Cpu, 1.0));
        known.learn(learned("new", DeviceId::Cpu, 2.0));
        known.learn(learned("new", DeviceId::Disk, 0.0));
        known.learn(learned("new", DeviceId::Cpu, 3.0));
        let newest = known.basis(DeviceId::Cpu, Precision::Fp32, None).unwrap();
        assert_eq!(newest.engine, "new");
        let flops: Vec<(Subject, f64)> = known.speeds(newest).into_iter().map(|(d, s)| (d, s.flops)).collect();
        assert_eq!(flops, [(Subject::Device(DeviceId::Disk), 0.0), (Subject::Device(DeviceId::Cpu), 3.0)]);
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Fp32, Some("old")), Some(&basis("old")));
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Fp32, Some("another")), None);
        assert_eq!(known.basis(DeviceId::Cpu, Precision::Bf16, None), None);
        assert_eq!((known.of_engine(DeviceId::Cpu, "old").len(), known.of_engine(DeviceId::Cuda(0), "old").len()), (1, 0));
    }

    #[test]
    fn the_disk_is_as_fast_as_where_the_files_are() {
        let speed = |bytes_per_second| Speed { flops: 1.0, bytes_per_second, measured: true };
        let known =
            [(Subject::Device(DeviceId::Disk), speed(1.0)), (Subject::Device(DeviceId::Cpu), speed(2.0)), (Subject::PageCache, speed(3.0))];
        let disk = |known, files| machine(Vec::new(), known, files).speed(DeviceId::Disk);
        assert_eq!((disk(&known, Files::OnDisk), disk(&known, Files::Cached)), (speed(1.0), speed(3.0)));
        assert_eq!(machine(Vec::new(), &known, Files::Cached).speed(DeviceId::Cpu), speed(2.0));
        assert_eq!((disk(&known[..2], Files::Cached), disk(&[], Files::OnDisk)), (PAGE_CACHE, Speed::assumed(DeviceId::Disk)));
        for subject in [Subject::PageCache, Subject::Device(DeviceId::Cuda(3))] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }

    #[test]
    fn only_forecasts_from_measurements_are_judged_and_old_ones_are_forgotten() {
        let mut known = Experience::default();
        let forecast =
            |predicted_s, calibrated| Forecast { basis: basis("new"), model: "night".to_owned(), predicted_s, measured_s: 1.0, calibrated };
        assert_eq!(known.history(&basis("new")), None);
        for predicted_s in [1.1, 0.7, 1.02] {
            known.foretold(forecast(predicted_s, true));
        }
        known.foretold(forecast(9.0, false));
        let history = known.history(&basis("new")).unwrap();
        assert!(history.runs == 3 && (history.median_error - 0.1).abs() < 1e-9, "{history:?}");
        assert_eq!(known.history(&basis("old")), None);
        for _ in 0..FORECASTS {
            known.foretold(forecast(2.0, true));
        }
        assert_eq!(known.history(&basis("new")), Some(History { runs: 200, median_error: 1.0 }));
    }
}
