//! What devices did lately: rings of samples for the graphs that sweep.
//!
//! Sample `n` stands in column `n mod width`, and the column after the newest is empty. One more sample
//! so touches two columns of the screen, where a graph that scrolls would touch all.

use std::collections::VecDeque;

use super::trail::Trail;
use crate::devices::{DeviceReading, DiskReading, Health, HostReading};
use crate::units::{DeviceId, Timestamp};

/// Samples that are kept: as many as the widest terminal has columns.
const KEPT: usize = 512;

/// One quantity over time, 0…1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    samples: VecDeque<Option<f32>>,
    count: usize,
}

impl Series {
    /// Adds a sample; `None` where it could not be read.
    pub fn push(&mut self, value: Option<f64>) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(value.map(|v| v.clamp(0.0, 1.0) as f32));
        self.count += 1;
    }

    /// Returns what stands in each column of a graph so wide.
    #[must_use]
    pub fn columns(&self, width: usize) -> Vec<Option<f32>> {
        let mut columns = vec![None; width];
        // One column less than there are: the one after the newest stays empty.
        let shown = self.samples.len().min(width.saturating_sub(1));
        let first = self.count - shown;
        for (n, sample) in (first..).zip(self.samples.iter().skip(self.samples.len() - shown)) {
            columns[n % width] = *sample;
        }
        columns
    }
}

/// The past of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Which.
    pub device: DeviceId,
    /// Used share of its memory.
    pub memory: Series,
    /// Busy share.
    pub utilization: Series,
    /// The same and more over longer times.
    pub trails: Trails,
}

/// What is known of a device over longer times, each in its own unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trails {
    /// Used share of its memory, 0…1.
    pub memory: Trail,
    /// Busy share, 0…1.
    pub busy: Trail,
    /// Watts.
    pub power: Trail,
    /// Degrees Celsius.
    pub temperature: Trail,
    /// Bytes per second towards it; of a disk, those that are written.
    pub incoming: Trail,
    /// Bytes per second from it; of a disk, those that are read.
    pub outgoing: Trail,
}

impl Trails {
    fn push(&mut self, reading: &DeviceReading, disk: Option<&DiskReading>, now: Timestamp) {
        self.memory.push(now, reading.memory.map(|m| m.used.ratio_of(m.total)));
        self.busy.push(now, reading.utilization);
        self.power.push(now, reading.power_w);
        self.temperature.push(now, reading.temperature_c);
        self.incoming.push(now, disk.and_then(|d| d.write_bps).or(reading.pcie.rx_bps));
        self.outgoing.push(now, disk.and_then(|d| d.read_bps).or(reading.pcie.tx_bps));
    }
}

/// The past of every device that has one worth a graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// By device, in the order in which they were first heard of.
    pub devices: Vec<Past>,
}

impl History {
    /// Adds a reading of every device.
    pub fn push(&mut self, readings: &[DeviceReading], host: &HostReading, now: Timestamp) {
        for reading in readings {
            let known = self.devices.iter().position(|p| p.device == reading.id);
            let at = known.unwrap_or_else(|| {
                self.devices.push(Past {
                    device: reading.id,
                    memory: Series::default(),
                    utilization: Series::default(),
                    trails: Trails::default(),
                });
                self.devices.len() - 1
            });
            let past = &mut self.devices[at];
            // What a lost device last said is no news.
            let answers = matches!(reading.health, Health::Ok | Health::Degraded { .. });
            past.memory.push(reading.memory.filter(|_| answers).map(|m| m.used.ratio_of(m.total)));
            past.utilization.push(reading.utilization.filter(|_| answers));
            if answers {
                let disk = host.disks.iter().find(|d| reading.id == DeviceId::Disk && Some(&d.mount) == reading.name.as_ref());
                past.trails.push(reading, disk, now);
            }
        }
    }

    /// Returns the past of a device.
    #[must_use]
    pub fn of(&self, device: DeviceId) -> Option<&Past> {
        self.devices.iter().find(|p| p.device == device)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(samples: impl IntoIterator<Item = f64>) -> Series {
        let mut series = Series::default();
        for sample in samples {
            series.push(Some(sample));
        }
        series
    }

    #[test]
    fn sweeps_like_an_oscilloscope() {
        assert_eq!(series([0.1, 0.2]).columns(4), [Some(0.1), Some(0.2), None, None]);
        assert_eq!(series([0.1, 0.2, 0.3, 0.4, 0.5]).columns(4), [Some(0.5), None, Some(0.3), Some(0.4)]);
        assert_eq!(series([0.1, 0.2]).columns(1), [None]);
        assert!(series([0.1]).columns(0).is_empty());
    }

    proptest! {
        #[test]
        fn one_more_sample_touches_at_most_two_columns(samples in prop::collection::vec(0.0f64..1.0, 1..700), width in 1usize..200) {
            let mut grown = series(samples);
            let before = grown.columns(width);
            grown.push(Some(0.5));
            let changed = before.iter().zip(grown.columns(width)).filter(|(a, b)| **a != *b).count();
            prop_assert!(changed <= 2, "{changed}");
        }
    }
}
