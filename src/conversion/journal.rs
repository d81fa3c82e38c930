//! What of a conversion is on the disk, so that the next call goes on from there.
//!
//! One line of JSON after another: what is made of what, then each chunk that was written and flushed. A line that was cut
//! off, and all after it, were never promised.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ConversionError;
use crate::cache::{Segment, beside};
use crate::quant::Tally;

/// What storing a chunk cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Σ (stored − source)².
    pub error: f64,
    /// Σ source².
    pub power: f64,
    /// Values beyond the range of the type.
    pub clipped: u64,
    /// Values that were no numbers.
    pub not_a_number: u64,
}

impl Loss {
    /// Adds what storing more values cost.
    pub fn add(&mut self, error: f64, power: f64, tally: Tally) {
        self.error += error;
        self.power += power;
        self.clipped += tally.clipped;
        self.not_a_number += tally.not_a_number;
    }

    /// Adds what another chunk of the same tensor cost.
    pub fn join(&mut self, other: Self) {
        self.add(other.error, other.power, Tally { clipped: other.clipped, not_a_number: other.not_a_number });
    }

    /// Returns the relative error: the norm of the difference by the norm of the source. Nothing where the source is zero.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.power > 0.0 { (self.error / self.power).sqrt() } else { 0.0 }
    }
}

/// A chunk that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its number.
    pub n: usize,
    /// The hash of the source's bytes, in hexadecimal.
    pub source: String,
    /// What was written where.
    pub wrote: Vec<Segment>,
    /// What it cost.
    pub loss: Loss,
}

/// The journal of one conversion.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of `target`. Returns also the chunks that an earlier attempt at exactly `work` has done; another
    /// work's journal is begun anew.
    pub fn open(target: &Path, work: &str) -> Result<(Self, Vec<Chunk>), ConversionError> {
        let path = beside(target, "journal");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => String::new(),
            Err(error) => return Err(ConversionError::io(&path, "reading it")(error)),
        };
        let (kept, chunks) = read(&text, work);
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(ConversionError::io(&path, "opening it"))?;
        file.set_len(kept as u64).map_err(ConversionError::io(&path, "cutting it"))?;
        let mut journal = Self { path, file };
        std::io::Seek::seek(&mut journal.file, std::io::SeekFrom::End(0)).map_err(ConversionError::io(&journal.path, "opening it"))?;
        if kept == 0 {
            journal.append(&format!("{work}\n"))?;
        }
        Ok((journal, chunks))
    }

    /// Keeps that these chunks are on the disk.
    pub fn keep(&mut self, chunks: &[Chunk]) -> Result<(), ConversionError> {
        let lines: Result<String, _> = chunks.iter().map(|c| serde_json::to_string(c).map(|line| line + "\n")).collect();
        let lines = lines.map_err(|e| ConversionError::io(&self.path, "writing it")(e.into()))?;
        self.append(&lines)
    }

    /// Returns whether there is one.
    #[must_use]
    pub fn exists(target: &Path) -> bool {
        beside(target, "journal").exists()
    }

    /// Removes the journal: its file is whole, or begun anew.
    pub fn remove(target: &Path) -> Result<(), ConversionError> {
        let path = beside(target, "journal");
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(ConversionError::io(&path, "removing it")(e)),
            _ => Ok(()),
        }
    }

    fn append(&mut self, text: &str) -> Result<(), ConversionError> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(ConversionError::io(&self.path, "writing it"))
    }
}

/// Returns how many bytes of a journal hold, and the chunks in them.
fn read(text: &str, work: &str) -> (usize, Vec<Chunk>) {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|l| l.strip_suffix('\n') == Some(work)) else { return (0, Vec::new()) };
    let (mut kept, mut chunks) = (first.len(), Vec::new());
    for line in lines {
        let Some(chunk) = line.strip_suffix('\n').and_then(|l| serde_json::from_str(l).ok()) else { break };
        chunks.push(chunk);
        kept += line.len();
    }
    (kept, chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: usize) -> Chunk {
        let wrote = vec![Segment { start: 8 * n as u64, length: 8, hash: "ab".to_owned() }];
        Chunk { n, source: "cd".to_owned(), wrote, loss: Loss { error: 0.1, power: 1.0 / 3.0, clipped: 1, not_a_number: 0 } }
    }

    #[test]
    fn what_was_kept_is_found_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        fs::create_dir_all(folder.path().join(".perilune")).unwrap();
        let (mut journal, done) = Journal::open(&target, "{\"work\":1}").unwrap();
        assert!(done.is_empty());
        journal.keep(&[chunk(0), chunk(1)]).unwrap();
        let path = beside(&target, "journal");
        let torn = fs::read_to_string(&path).unwrap() + "{\"n\":2,\"sou";
        fs::write(&path, torn).unwrap();
        let (mut journal, done) = Journal::open(&target, "{\"work\":1}").unwrap();
        assert_eq!(done, [chunk(0), chunk(1)]);
        journal.keep(&[chunk(2)]).unwrap();
        assert_eq!(Journal::open(&target, "{\"work\":1}").unwrap().1.len(), 3);
        assert!(Journal::open(&target, "{\"work\":2}").unwrap().1.is_empty(), "another source or recipe begins anew");
        Journal::remove(&target).unwrap();
        Journal::remove(&target).unwrap();
        assert!(!path.exists());
    }

    proptest::proptest! {
        /// Cut off anywhere, a journal promises whole lines only, and goes on as one that was never cut.
        #[test]
        fn cut_anywhere_it_holds_what_was_whole(chunks in 1_usize..8, cut in proptest::prelude::any::<proptest::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("a.gguf");
            fs::create_dir_all(folder.path().join(".perilune")).unwrap();
            let all: Vec<Chunk> = (0..chunks).map(chunk).collect();
            Journal::open(&target, "work").unwrap().0.keep(&all).unwrap();
            let path = beside(&target, "journal");
            let whole = fs::read(&path).unwrap();
            let kept = &whole[..cut.index(whole.len())];
            fs::write(&path, kept).unwrap();
            let lines = kept.split(|b| *b == b'\n').count() - 1;
            let (mut journal, done) = Journal::open(&target, "work").unwrap();
            proptest::prop_assert_eq!(&done[..], &all[..lines.saturating_sub(1)]);
            journal.keep(&all[done.len()..]).unwrap();
            proptest::prop_assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }
}
