//! Recorded frames, one JSON object a line: written on one machine, shown on another, in tests and demos.

use std::io::{self, BufRead, Write};

use crate::telemetry::frame::Frame;
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::Timestamp;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read or written.
    #[error("cannot read or write the recording")]
    Io(#[from] io::Error),
    /// A line is no frame.
    #[error("line {line} of the recording is no frame: {source}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// serde's words.
        source: serde_json::Error,
    },
    /// There is nothing to show.
    #[error("the recording has no frames")]
    Empty,
}

/// Writes frames as they come.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    to: W,
}

impl<W: Write> Recorder<W> {
    /// Returns a recorder that appends to `to`.
    pub fn new(to: W) -> Self {
        Self { to }
    }

    /// Writes one frame, whole, so that a recording cut short loses at most its last line.
    pub fn write(&mut self, frame: &Frame) -> Result<(), ReplayError> {
        let mut line = serde_json::to_vec(frame).map_err(io::Error::from)?;
        line.push(b'\n');
        self.to.write_all(&line)?;
        Ok(self.to.flush()?)
    }
}

/// Reads a recording; empty lines are passed over.
pub fn read(from: impl BufRead) -> Result<Vec<Frame>, ReplayError> {
    let mut frames = Vec::new();
    for (i, line) in from.lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            frames.push(serde_json::from_str(&line).map_err(|source| ReplayError::Line { line: i + 1, source })?);
        }
    }
    Ok(frames)
}

/// Shows recorded frames again, one for each reading, from the start when they are over.
#[derive(Debug)]
pub struct ReplayProbe {
    frames: Vec<Frame>,
    next: usize,
}

impl ReplayProbe {
    /// Returns a probe that shows `frames`.
    pub fn new(frames: Vec<Frame>) -> Result<Self, ReplayError> {
        if frames.is_empty() { Err(ReplayError::Empty) } else { Ok(Self { frames, next: 0 }) }
    }
}

impl Probe for ReplayProbe {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn read(&mut self, _now: Timestamp, _ask: &Ask) -> Sample {
        let frame = &self.frames[self.next % self.frames.len()];
        self.next = (self.next + 1) % self.frames.len();
        Sample { devices: frame.devices.clone(), host: frame.host.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{DeviceKind, DeviceReading, Health, HostReading};
    use crate::units::DeviceId;

    fn frame(at: i64, misses: u32) -> Frame {
        let mut gpu = DeviceReading::unknown(DeviceId::Cuda(0), DeviceKind::Cuda, "nvml");
        gpu.health = Health::Degraded { misses };
        Frame { taken: Timestamp(at), devices: vec![gpu], host: HostReading::default(), waiting: vec![] }
    }

    #[test]
    fn what_is_recorded_is_shown_again_and_again() {
        let frames = vec![frame(0, 1), frame(1_000, 2)];
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&mut file);
        for frame in &frames {
            recorder.write(frame).unwrap();
        }
        assert_eq!(read(file.as_slice()).unwrap(), frames);
        let mut probe = ReplayProbe::new(frames.clone()).unwrap();
        for expected in [&frames[0], &frames[1], &frames[0]] {
            assert_eq!(probe.read(Timestamp(9), &Ask::default()).devices, expected.devices);
        }
    }

    #[test]
    fn a_recording_without_newer_fields_still_reads() {
        let mut json = serde_json::to_value(frame(0, 1)).unwrap();
        json.as_object_mut().unwrap().remove("waiting");
        for name in ["stale", "parent"] {
            json["devices"][0].as_object_mut().unwrap().remove(name);
        }
        assert_eq!(read(json.to_string().as_bytes()).unwrap(), [frame(0, 1)]);
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = read("\n{\"taken\":1}\n".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of the recording"), "{error}");
        assert!(matches!(ReplayProbe::new(vec![]), Err(ReplayError::Empty)));
    }
}
