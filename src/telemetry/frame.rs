//! All readings of one moment, put together from what the sources last said.
//!
//! Pure: a frame is a function of the samples, their ages and `now`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::devices::{DeviceReading, GpuProblem, HostReading};
use crate::telemetry::Sample;
use crate::units::Timestamp;

/// Values older than this are marked, unless their source is slow on purpose.
pub const STALE_AFTER: Duration = Duration::from_secs(3);

/// A source that has not answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its name.
    pub source: String,
    /// Seconds since it was asked.
    pub for_s: f64,
}

/// All readings of one moment. Never changed once made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// When it was put together; each row says how old its values are.
    pub taken: Timestamp,
    /// Every device that is known so far.
    pub devices: Vec<DeviceReading>,
    /// The host.
    pub host: HostReading,
    /// Sources whose answer is outstanding; at first all of them.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
}

impl Frame {
    /// Returns a frame of which nothing is known.
    #[must_use]
    pub fn empty(taken: Timestamp) -> Self {
        Self { taken, devices: Vec::new(), host: HostReading::default(), waiting: Vec::new() }
    }
}

/// What is known of one source.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Its last answer and when that was taken.
    pub(super) last: Option<(Timestamp, Arc<Sample>)>,
    /// When it was asked what it has not answered yet.
    pub(super) asked: Option<Timestamp>,
    /// How old its values may be before they are called stale.
    pub(super) fresh_for: Duration,
    /// What to tell when it has not answered for long.
    pub(super) silence: Option<GpuProblem>,
}

/// Puts the last answers together as of `now`.
pub(super) fn compose<'a>(parts: impl IntoIterator<Item = &'a Part>, now: Timestamp) -> Frame {
    let mut frame = Frame::empty(now);
    for part in parts {
        if let Some((taken, sample)) = &part.last {
            let age = now.since(*taken);
            for device in &sample.devices {
                let mut device = device.clone();
                // A lost device's values were old when they were read.
                device.age_s += age.as_secs_f64();
                device.stale = device.age_s > part.fresh_for.as_secs_f64();
                frame.devices.push(device);
            }
            fill(&mut frame.host, &sample.host);
        }
        if let Some(asked) = part.asked {
            let outstanding = now.since(asked);
            frame.waiting.push(Waiting { source: part.name.to_owned(), for_s: outstanding.as_secs_f64() });
            if outstanding > STALE_AFTER && frame.host.gpu_problem.is_none() {
                frame.host.gpu_problem.clone_from(&part.silence);
            }
        }
    }
    frame
}

/// Copies what `from` knows and `into` does not.
fn fill(into: &mut HostReading, from: &HostReading) {
    // Taken apart by name so that a new field cannot be forgotten here.
    let HostReading { name, cpus, load, cpu_utilization, memory, swap, disks, driver, cuda, gpu_problem } = from;
    take(&mut into.name, name.as_ref());
    take(&mut into.cpus, cpus.as_ref());
    take(&mut into.load, load.as_ref());
    take(&mut into.cpu_utilization, cpu_utilization.as_ref());
    take(&mut into.memory, memory.as_ref());
    take(&mut into.swap, swap.as_ref());
    take(&mut into.driver, driver.as_ref());
    take(&mut into.cuda, cuda.as_ref());
    take(&mut into.gpu_problem, gpu_problem.as_ref());
    into.disks.extend(disks.iter().cloned());
}

fn take<T: Clone>(into: &mut Option<T>, from: Option<&T>) {
    if into.is_none() {
        *into = from.cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceKind;
    use crate::units::DeviceId;

    fn part(name: &'static str, last: Option<(i64, Sample)>, asked: Option<i64>) -> Part {
        Part {
            name,
            last: last.map(|(at, sample)| (Timestamp(at), Arc::new(sample))),
            asked: asked.map(Timestamp),
            fresh_for: STALE_AFTER,
            silence: Some(GpuProblem { cause: "silent".to_owned(), hint: "wait".to_owned(), is_absent: false }),
        }
    }

    fn gpu(age_s: f64) -> Sample {
        let mut reading = DeviceReading::unknown(DeviceId::Cuda(0), DeviceKind::Cuda, "nvml");
        reading.age_s = age_s;
        Sample { devices: vec![reading], host: HostReading { driver: Some("580.95".to_owned()), ..HostReading::default() } }
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let frame = compose(&[part("nvml", None, Some(1_000))], Timestamp(1_250));
        assert!(frame.devices.is_empty());
        assert_eq!(frame.host, HostReading::default());
        assert_eq!(frame.waiting, [Waiting { source: "nvml".to_owned(), for_s: 0.25 }]);
    }

    #[test]
    fn parts_of_the_host_come_together() {
        let host = Sample { devices: vec![], host: HostReading { cpus: Some(8), ..HostReading::default() } };
        let frame = compose(&[part("nvml", Some((0, gpu(0.0))), None), part("host", Some((0, host)), None)], Timestamp(0));
        assert_eq!((frame.host.cpus, frame.host.driver.as_deref()), (Some(8), Some("580.95")));
    }

    #[test]
    fn an_unanswered_question_costs_age_and_then_marks_the_rows() {
        for (now, age_s, stale) in [(1_500, 0.5, false), (4_000, 3.0, false), (4_001, 3.001, true), (61_000, 60.0, true)] {
            let frame = compose(&[part("nvml", Some((1_000, gpu(0.0))), Some(1_000))], Timestamp(now));
            assert!((frame.devices[0].age_s - age_s).abs() < 1e-9, "{now}");
            assert_eq!(frame.devices[0].stale, stale, "{now}");
            assert_eq!(frame.host.gpu_problem.is_some(), stale, "{now}");
        }
    }

    #[test]
    fn a_lost_device_ages_from_its_own_last_answer() {
        let frame = compose(&[part("nvml", Some((1_000, gpu(40.0))), None)], Timestamp(2_000));
        assert!((frame.devices[0].age_s - 41.0).abs() < 1e-9);
        assert!(frame.devices[0].stale);
    }

    #[test]
    fn reads_back_from_json() {
        let frame = compose(&[part("nvml", Some((0, gpu(0.0))), Some(0))], Timestamp(10));
        let json = serde_json::to_string(&frame).unwrap();
        assert_eq!(serde_json::from_str::<Frame>(&json).unwrap(), frame);
    }
}
