//! What the threads of a conversion do: some read a chunk in pieces that stay in a core's cache, hash and convert each, and fill
//! trays with what comes of it; others write full trays, several at once, as disks like it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use super::ConversionError;
use super::form::{Encoder, Scratch};
use super::journal::{Chunk, Loss};
use super::output::{Job, Output};
use super::part_file::PartFile;
use super::tray::{Tray, Trays};
use crate::cache::Segment;
use crate::library::MappedFile;

/// Threads that write. They wait for the disk and take no core; more requests at once make none faster.
pub const WRITERS: usize = 4;

/// Products that one chunk may have under way: SDNQ's codes, scales and zero points.
const PRODUCTS: usize = 3;

/// Bytes that are read and hashed at once where nothing else is done with them: a part of a core's cache.
const COPIED: u64 = 256 << 10;

/// Returns how many trays keep everybody busy: who converts can hold one for every product while all writers write.
#[must_use]
pub fn trays(threads: usize) -> usize {
    PRODUCTS * threads + 2 * WRITERS
}

/// A chunk that is to be done.
#[derive(Debug)]
pub struct Task {
    /// The number of its job.
    pub job: usize,
    /// Which of its elements.
    pub elements: Range<u64>,
}

/// What is told of a chunk.
#[derive(Debug)]
pub enum Told {
    /// It was made, and so many trays of it are to be written.
    Made(Chunk, usize),
    /// A tray of the chunk of this number was written.
    Wrote(usize),
}

/// A tray that is to be written, and the number of its chunk.
pub type Full = (usize, Tray);

/// What the threads share.
pub struct Floor<'a> {
    /// What is to be.
    pub output: &'a Output,
    /// What it is made of.
    pub files: &'a [MappedFile],
    /// Where it goes.
    pub part: &'a PartFile,
    /// All chunks.
    pub tasks: &'a [Task],
    /// The numbers of those that are still to be done.
    pub open: Vec<usize>,
    /// How many of these somebody has taken.
    pub next: AtomicUsize,
    /// Set from outside.
    pub stop: &'a AtomicBool,
    /// Set where a thread failed: the others need not go on.
    pub failed: AtomicBool,
    /// The scale of each job that has one for the whole tensor.
    pub scales: Vec<Mutex<Option<f32>>>,
    /// Memory for results.
    pub trays: &'a Trays,
}

impl Floor<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }
}

/// A thread that converts: chunk after chunk, until there is none, or an end.
pub fn convert(floor: &Floor<'_>, full: &Sender<Full>, told: &Sender<Told>) -> Result<(), ConversionError> {
    let mut scratch = Scratch::default();
    while !floor.is_over() {
        let Some(n) = floor.open.get(floor.next.fetch_add(1, Ordering::Relaxed)).copied() else { return Ok(()) };
        match chunk(floor, n, &mut scratch, full) {
            // Nobody listens any more where keeping failed, which is told there.
            Ok(Some((chunk, trays))) => drop(told.send(Told::Made(chunk, trays))),
            Ok(None) => return Ok(()),
            Err(error) => {
                floor.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// A thread that writes, until nobody fills trays any more. After a failure it only gives them back.
pub fn write(floor: &Floor<'_>, full: &Mutex<Receiver<Full>>, told: &Sender<Told>) -> Result<(), ConversionError> {
    let mut result = Ok(());
    loop {
        let next = full.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((n, tray)) = next else { return result };
        if result.is_ok() && !floor.failed.load(Ordering::Relaxed) {
            result = floor.part.write_tray(&tray).map(|()| drop(told.send(Told::Wrote(n))));
            if result.is_err() {
                floor.failed.store(true, Ordering::Relaxed);
            }
        }
        floor.trays.give(tray);
    }
}

/// Converts one chunk. Returns what it is and how many trays it filled; nothing where it is over.
fn chunk(floor: &Floor<'_>, n: usize, scratch: &mut Scratch, full: &Sender<Full>) -> Result<Option<(Chunk, usize)>, ConversionError> {
    let Task { job, elements } = &floor.tasks[n];
    let (number, job) = (*job, &floor.output.jobs[*job]);
    let file = &floor.files[job.feed.file];
    job.feed.will_need(file, elements);
    let mut flow = Flow { floor, n, full, filled: 0 };
    if job.form.copies() {
        let mut sink = Sink::new(job.places[0] + job.feed.bytes_of(&(0..elements.start)));
        if !flow.copy(&mut sink, job, elements)? {
            return Ok(None);
        }
        // One hash is both: nothing changes on the way.
        let source = sink.hasher.finalize().to_hex().to_string();
        let wrote = flow.finish(sink).into_iter().collect();
        return Ok(Some((Chunk { n, source, wrote, loss: Loss::default() }, flow.filled)));
    }
    let wrong = |source| ConversionError::Codec { path: file.path().to_owned(), tensor: job.feed.name.clone(), source };
    let encoder = Encoder { form: &job.form, feed: &job.feed, scale: floor.scale(number, job)? };
    let mut sinks: Vec<Sink> = encoder.starts(elements.start).iter().zip(&job.places).map(|(at, place)| Sink::new(place + at)).collect();
    let (mut source, mut loss) = (blake3::Hasher::new(), Loss::default());
    let mut bytes = std::mem::take(&mut scratch.source);
    for piece in encoder.pieces(elements) {
        job.feed.read(file, &piece, &mut bytes)?;
        source.update(&bytes);
        loss.join(encoder.encode(&bytes, &piece, scratch).map_err(wrong)?);
        for (made, sink) in scratch.made.iter().zip(&mut sinks) {
            if !flow.pour(sink, made.bytes()) {
                return Ok(None);
            }
        }
    }
    scratch.source = bytes;
    let wrote = sinks.into_iter().filter_map(|sink| flow.finish(sink)).collect();
    Ok(Some((Chunk { n, source: source.finalize().to_hex().to_string(), wrote, loss }, flow.filled)))
}

impl Floor<'_> {
    /// Returns the scale of the whole tensor, where its form has one. Others that need it wait for it.
    fn scale(&self, number: usize, job: &Job) -> Result<f32, ConversionError> {
        if !job.form.needs_scale() {
            return Ok(1.0);
        }
        let mut known = self.scales[number].lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match *known {
            Some(scale) => scale,
            None => *known.insert(job.scale(&self.files[job.feed.file])?),
        })
    }
}

/// Where a product of a chunk goes, as it comes.
struct Sink {
    start: u64,
    end: u64,
    hasher: blake3::Hasher,
    tray: Option<Tray>,
}

impl Sink {
    fn new(start: u64) -> Self {
        Self { start, end: start, hasher: blake3::Hasher::new(), tray: None }
    }
}

/// The way of one chunk's results to those who write.
struct Flow<'a> {
    floor: &'a Floor<'a>,
    n: usize,
    full: &'a Sender<Full>,
    filled: usize,
}

impl Flow<'_> {
    /// Hands on the tray of a sink if there is one.
    fn hand_on(&mut self, sink: &mut Sink) {
        if let Some(tray) = sink.tray.take() {
            self.filled += 1;
            // Those who write listen until everybody who fills trays is done.
            drop(self.full.send((self.n, tray)));
        }
    }

    /// Returns a tray of the sink's with room in it; nothing where it is over.
    fn room<'s>(&mut self, sink: &'s mut Sink) -> Option<&'s mut Tray> {
        if sink.tray.as_mut().is_some_and(|tray| tray.room().is_empty()) {
            self.hand_on(sink);
        }
        if sink.tray.is_none() {
            sink.tray = Some(self.floor.trays.take(sink.end, || self.floor.is_over())?);
        }
        sink.tray.as_mut()
    }

    /// Puts bytes where they go; `false` where it is over.
    fn pour(&mut self, sink: &mut Sink, mut bytes: &[u8]) -> bool {
        // Hashed as they are handed over, while the core still has them in its cache.
        sink.hasher.update(bytes);
        while !bytes.is_empty() {
            let Some(tray) = self.room(sink) else { return false };
            let room = tray.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            tray.fill(now.len());
            sink.end += now.len() as u64;
            bytes = later;
        }
        true
    }

    /// Reads what stays as it is into trays; `false` where it is over.
    fn copy(&mut self, sink: &mut Sink, job: &Job, elements: &Range<u64>) -> Result<bool, ConversionError> {
        let file = &self.floor.files[job.feed.file];
        let mut hasher = blake3::Hasher::new();
        let (mut at, mut left) = (job.feed.start + job.feed.bytes_of(&(0..elements.start)), job.feed.bytes_of(elements));
        while left > 0 {
            let Some(tray) = self.room(sink) else { return Ok(false) };
            let room = tray.room();
            let now = (room.len() as u64).min(left).min(COPIED) as usize;
            file.read(at, &mut room[..now])?;
            tray.fill(now);
            let held = tray.bytes();
            hasher.update(&held[held.len() - now..]);
            (at, left, sink.end) = (at + now as u64, left - now as u64, sink.end + now as u64);
        }
        sink.hasher = hasher;
        Ok(true)
    }

    /// Hands on what is left, and returns what was put there; nothing where that is nothing.
    fn finish(&mut self, mut sink: Sink) -> Option<Segment> {
        self.hand_on(&mut sink);
        let Sink { start, end, hasher, .. } = sink;
        (end > start).then(|| Segment { start, length: end - start, hash: hasher.finalize().to_hex().to_string() })
    }
}
