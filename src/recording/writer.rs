//! Writes a recording. The file is its owner's alone, and takes the place of no other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::error::RecordingError;
use super::moment::{FORMAT, Header, Moment, What};
use super::prompts::Prompts;
use crate::units::Timestamp;
use crate::wire::{Change, PROTOCOL, Status};

/// What is kept of prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    NoPrompts,
    /// All.
    Prompts,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    out: Option<GzEncoder<BufWriter<File>>>,
    prompts: Option<Prompts>,
    begun_member: bool,
    moments: u64,
}

impl Recorder {
    /// Begins one.
    pub fn create(path: &Path, place: &str, now: Timestamp, keep: Keep) -> Result<Self, RecordingError> {
        // What is there already may be a link to somewhere else, or somebody's work.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => RecordingError::Exists { path: path.to_owned() },
            _ => RecordingError::Io { path: path.to_owned(), doing: "creating it", source },
        })?;
        let prompts = (keep == Keep::NoPrompts).then(Prompts::default);
        let out = Some(GzEncoder::new(BufWriter::new(file), Compression::default()));
        let mut recorder = Self { path: path.to_owned(), out, prompts, begun_member: true, moments: 0 };
        let header = Header {
            perilune_recording: FORMAT,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            place: place.to_owned(),
            begun: now,
            prompts: keep == Keep::Prompts,
        };
        // A file without its beginning would keep its place from the next try.
        recorder.line(&header).and_then(|()| recorder.flush()).inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(recorder)
    }

    /// Returns how many moments are in it.
    #[must_use]
    pub fn moments(&self) -> u64 {
        self.moments
    }

    /// Writes what was heard.
    pub fn put(&mut self, at: Timestamp, what: What) -> Result<(), RecordingError> {
        let mut value = serde_json::to_value(Moment { at, what }).map_err(|e| self.failed(e.into()))?;
        if let Some(prompts) = &mut self.prompts {
            prompts.take_out(&mut value);
        }
        self.moments += 1;
        self.begun_member = false;
        self.line(&value)
    }

    /// Writes everything as it is at this moment, where jumps may lead to.
    pub fn put_all(&mut self, at: Timestamp, status: Status) -> Result<(), RecordingError> {
        if !self.begun_member {
            let done = self.out.take().map(GzEncoder::finish).transpose().map_err(|e| self.failed(e))?;
            self.out = done.map(|file| GzEncoder::new(file, Compression::default()));
        }
        self.put(at, What::Changed(Box::new(Change::Snapshot(Box::new(status)))))
    }

    /// Has all that was written reach the file, so that it can be played up to here, whatever happens.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = self.out.as_mut().map_or(Ok(()), Write::flush);
        flushed.map_err(|e| self.failed(e))
    }

    /// Ends it.
    pub fn finish(mut self, now: Timestamp) -> Result<(), RecordingError> {
        self.put(now, What::End)?;
        let Some(out) = self.out.take() else { return Ok(()) };
        let finished = out.finish().and_then(|mut file| {
            file.flush()?;
            file.get_ref().sync_all()
        });
        finished.map_err(|e| self.failed(e))
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), RecordingError> {
        let Some(out) = &mut self.out else { return Err(self.failed(io::Error::other("it has ended"))) };
        let written = serde_json::to_writer(&mut *out, value).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"));
        written.map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> RecordingError {
        RecordingError::Io { path: self.path.clone(), doing: "writing it", source }
    }
}
