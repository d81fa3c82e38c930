//! Reads a recording: looks once through all of it, then plays from any moment on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::RecordingError;
use super::moment::{FORMAT, Header, Moment, What};
use crate::units::Timestamp;
use crate::wire::PROTOCOL;

/// The longest line: a snapshot is a frame of the wire, of 16 MiB at most, in as many bytes.
const LONGEST_LINE: u64 = 17 << 20;

/// What becomes of a recording whose end is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutOff {
    /// It is refused.
    Refused,
    /// What is there is played.
    Played,
}

/// A recording that was looked through.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    /// What it says of itself.
    pub header: Header,
    /// The time of its first moment.
    pub begun: Timestamp,
    /// The time of its last moment.
    pub ended: Timestamp,
    /// Where members begin, and when.
    members: Vec<(Timestamp, u64)>,
    /// Lines that are whole.
    moments: u64,
}

/// A line's time; and whether it is the last.
#[derive(Deserialize)]
struct Glance {
    at: Timestamp,
    what: GlanceWhat,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GlanceWhat {
    Up,
    Down(IgnoredAny),
    Changed(IgnoredAny),
    End,
}

impl Recording {
    /// Looks through a recording.
    pub fn open(path: &Path, cut_off: CutOff) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Io { path: path.to_owned(), doing: "reading it", source };
        let mut lines = Lines::open(path, 0).map_err(failed)?;
        let header = header(path, &mut lines)?;
        let mut recording =
            Self { path: path.to_owned(), begun: header.begun, ended: header.begun, header, members: Vec::new(), moments: 0 };
        let problem = recording.look_through(&mut lines);
        match problem {
            Ok(()) => {}
            Err(_) if cut_off == CutOff::Played && recording.moments > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(recording)
    }

    fn look_through(&mut self, lines: &mut Lines) -> Result<(), RecordingError> {
        loop {
            let (line, begins_at) = match lines.next() {
                Ok(Some(line)) => line,
                // An end that nobody wrote is none.
                Ok(None) => return Err(self.cut_off()),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(self.cut_off()),
                Err(e) => return Err(self.damaged(e.to_string())),
            };
            let glance: Glance = serde_json::from_str(line).map_err(|e| self.damaged(e.to_string()))?;
            if self.moments == 0 {
                self.begun = glance.at;
                self.members.push((glance.at, 0));
            } else if let Some(offset) = begins_at {
                self.members.push((glance.at, offset));
            }
            self.moments += 1;
            // A clock that was set back must not make jumps miss their place.
            self.ended = self.ended.max(glance.at);
            let is_end = match glance.what {
                GlanceWhat::End => true,
                GlanceWhat::Up | GlanceWhat::Down(IgnoredAny) | GlanceWhat::Changed(IgnoredAny) => false,
            };
            if is_end {
                return match lines.next() {
                    Ok(None) => Ok(()),
                    // Of the last member, not even what it is checked by may be missing.
                    Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(self.cut_off()),
                    Ok(Some(_)) | Err(_) => Err(self.damaged("something follows its end".to_owned())),
                };
            }
        }
    }

    fn cut_off(&self) -> RecordingError {
        RecordingError::CutOff { path: self.path.clone(), last: (self.moments > 0).then_some(self.ended) }
    }

    fn damaged(&self, problem: String) -> RecordingError {
        RecordingError::Damaged { path: self.path.clone(), line: self.moments + 2, problem }
    }

    /// Returns when the last snapshot before a moment was taken.
    #[must_use]
    pub fn snapshot_before(&self, at: Timestamp) -> Timestamp {
        self.members.iter().rev().map(|(begins, _)| *begins).find(|begins| *begins <= at).unwrap_or(self.begun)
    }

    /// Returns what there is from the last snapshot before a moment on.
    pub fn play_from(&self, at: Timestamp) -> Result<Moments, RecordingError> {
        let failed = |source| RecordingError::Io { path: self.path.clone(), doing: "reading it", source };
        let member = self.members.iter().rev().find(|(begins, _)| *begins <= at).or(self.members.first());
        let offset = member.map_or(0, |(_, offset)| *offset);
        let mut lines = Lines::open(&self.path, offset).map_err(failed)?;
        if offset == 0 {
            header(&self.path, &mut lines)?;
        }
        Ok(Moments { lines })
    }
}

fn header(path: &Path, lines: &mut Lines) -> Result<Header, RecordingError> {
    let foreign = || RecordingError::Foreign { path: path.to_owned() };
    let first = match lines.next() {
        Ok(Some((line, _))) => serde_json::from_str::<Header>(line).map_err(|_| foreign()),
        Ok(None) => Err(foreign()),
        Err(e) => Err(RecordingError::Io { path: path.to_owned(), doing: "reading it", source: e }),
    };
    let first = match first {
        // What begins as one and has no first line was cut off there.
        Err(RecordingError::Io { source, .. }) if source.kind() == ErrorKind::UnexpectedEof && lines.has_begun => {
            return Err(RecordingError::CutOff { path: path.to_owned(), last: None });
        }
        Err(RecordingError::Io { source, .. })
            if matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof | ErrorKind::Other) =>
        {
            return Err(foreign());
        }
        first => first?,
    };
    if first.perilune_recording != FORMAT || first.protocol != PROTOCOL {
        let Header { protocol, version, .. } = first;
        return Err(RecordingError::OtherBuild { path: path.to_owned(), theirs: protocol, version, ours: PROTOCOL });
    }
    Ok(first)
}

/// What is played, moment by moment. It ends where the recording does, or where it is cut off.
#[derive(Debug)]
pub struct Moments {
    lines: Lines,
}

impl Iterator for Moments {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        // What is wrong was told when the recording was looked through.
        let (line, _) = self.lines.next().ok()??;
        let moment: Moment = serde_json::from_str(line).ok()?;
        (moment.what != What::End).then_some(moment)
    }
}

/// Lines, member by member.
#[derive(Debug)]
struct Lines {
    file: Option<BufReader<GzDecoder<BufReader<File>>>>,
    /// Where the present member begins, until its first line was read.
    begins_at: Option<u64>,
    /// Whether anything was decompressed.
    has_begun: bool,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let file = Some(BufReader::new(GzDecoder::new(BufReader::new(file))));
        Ok(Self { file, begins_at: Some(offset), has_begun: false, line: Vec::new() })
    }

    /// Returns the next line; and where its member begins, if it is the first of one.
    fn next(&mut self) -> io::Result<Option<(&str, Option<u64>)>> {
        self.line.clear();
        while let Some(file) = &mut self.file {
            file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
            self.has_begun |= !self.line.is_empty();
            if self.line.pop_if(|last| *last == b'\n').is_some() {
                let text = std::str::from_utf8(&self.line).map_err(io::Error::other)?;
                return Ok(Some((text, self.begins_at.take())));
            }
            if self.line.len() as u64 >= LONGEST_LINE {
                return Err(io::Error::other("a line is too long"));
            }
            if !self.line.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.next_member()?;
        }
        Ok(None)
    }

    fn next_member(&mut self) -> io::Result<()> {
        let Some(member) = self.file.take() else { return Ok(()) };
        let mut file = member.into_inner().into_inner();
        if !file.fill_buf()?.is_empty() {
            self.begins_at = Some(file.stream_position()?);
            self.file = Some(BufReader::new(GzDecoder::new(file)));
        }
        Ok(())
    }
}
