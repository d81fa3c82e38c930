//! Runs a conversion: every thread takes the next chunk, converts it and writes it to its place; one more flushes, reads back
//! and journals what was written.
//!
//! Memory does not depend on the model: a thread holds one chunk in its new form and a small part of it as numbers. Chunks are
//! taken in the order of the file, so writes are large and nearly in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::ConversionError;
use super::chunk::Rows;
use super::feed::Feed;
use super::form::{Encoder, Scratch};
use super::journal::{Chunk, Journal, Loss};
use super::output::{Job, Output};
use super::part_file::PartFile;
use crate::cache::Segment;
use crate::library::MappedFile;
use crate::units::Bytes;

/// How much may be written and not yet be journalled, about: what a kill costs.
const UNFLUSHED: u64 = 256 << 20;

/// For how long what was written may not be journalled, where that much takes longer.
const UNKEPT: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody said stop, and progress is told.
pub(super) const BEAT: Duration = Duration::from_millis(100);

/// Who watches a conversion, and may stop it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Set by whoever wants it to stop.
    pub stop: &'a AtomicBool,
    /// Called with what was read so far, and what is to be read.
    pub tell: &'a (dyn Fn(Bytes, Bytes) + Sync),
    /// Threads that convert.
    pub threads: usize,
}

/// What came of a conversion.
#[derive(Debug)]
pub struct Converted {
    /// The hash of all source tensors.
    pub source: String,
    /// What was written where, in the order of the file.
    pub segments: Vec<Segment>,
    /// What storing each tensor cost, in the order of the jobs.
    pub losses: Vec<Loss>,
    /// Chunks that an earlier attempt had done.
    pub resumed: usize,
    /// All of them.
    pub chunks: usize,
}

/// A chunk that is to be done.
struct Task {
    job: usize,
    elements: Range<u64>,
}

/// What the threads share.
struct Floor<'a> {
    output: &'a Output,
    files: &'a [MappedFile],
    part: &'a PartFile,
    tasks: &'a [Task],
    /// The numbers of tasks that are still to be done.
    open: Vec<usize>,
    next: AtomicUsize,
    stop: &'a AtomicBool,
    failed: AtomicBool,
    /// The scale of each job that has one for the whole tensor.
    scales: Vec<Mutex<Option<f32>>>,
}

/// Converts what `output` says into `part`, from where `journal` says that an earlier attempt ended.
pub fn run(
    output: &Output,
    files: &[MappedFile],
    part: &PartFile,
    (journal, before): (&mut Journal, Vec<Chunk>),
    watch: Watch<'_>,
) -> Result<Converted, ConversionError> {
    let tasks = tasks(output);
    let mut done: Vec<Option<Chunk>> = tasks.iter().map(|_| None).collect();
    let resumed = before.len();
    for chunk in before {
        if let Some(place) = done.get_mut(chunk.n) {
            *place = Some(chunk);
        }
    }
    let open: Vec<usize> = (0..tasks.len()).filter(|n| done[*n].is_none()).collect();
    let floor = Floor {
        output,
        files,
        part,
        tasks: &tasks,
        open,
        next: AtomicUsize::new(0),
        stop: watch.stop,
        failed: AtomicBool::new(false),
        scales: output.jobs.iter().map(|_| Mutex::default()).collect(),
    };
    let read = |task: &Task| output.jobs[task.job].feed.bytes_of(&task.elements);
    let total: u64 = tasks.iter().map(read).sum();
    let mut came = total - floor.open.iter().map(|n| read(&tasks[*n])).sum::<u64>();
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..watch.threads.clamp(1, floor.open.len().max(1)))
            .map(|_| {
                let (floor, sender) = (&floor, sender.clone());
                scope.spawn(move || work(floor, &sender))
            })
            .collect();
        drop(sender);
        let told = |n: usize| {
            came += read(&tasks[n]);
            (watch.tell)(Bytes(came), Bytes(total));
        };
        let kept = keep(&receiver, part, journal, &mut done, told);
        if kept.is_err() {
            floor.failed.store(true, Ordering::Relaxed);
        }
        let worked: Result<Vec<()>, ConversionError> =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|cause| panic::resume_unwind(cause))).collect();
        // What a thread failed with says more than that there was nothing to keep.
        worked.and(kept)
    })?;
    if watch.stop.load(Ordering::Relaxed) && done.iter().any(Option::is_none) {
        return Err(ConversionError::Cancelled);
    }
    Ok(gathered(output, &tasks, done.into_iter().flatten().collect(), resumed))
}

fn tasks(output: &Output) -> Vec<Task> {
    let of_job = |(job, j): (usize, &Job)| {
        let chunks = Rows::of(&j.feed.shape).chunks();
        chunks.into_iter().map(move |elements| Task { job, elements })
    };
    output.jobs.iter().enumerate().flat_map(of_job).collect()
}

/// One thread: chunk after chunk, until there is none, or an end.
fn work(floor: &Floor<'_>, done: &Sender<Chunk>) -> Result<(), ConversionError> {
    let mut scratch = Scratch::default();
    loop {
        if floor.stop.load(Ordering::Relaxed) || floor.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(n) = floor.open.get(floor.next.fetch_add(1, Ordering::Relaxed)).copied() else { return Ok(()) };
        match chunk(floor, n, &mut scratch) {
            // Nobody listens any more where keeping failed, which is told there.
            Ok(chunk) => drop(done.send(chunk)),
            Err(error) => {
                floor.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
    }
}

/// Converts one chunk and writes it to its places.
fn chunk(floor: &Floor<'_>, n: usize, scratch: &mut Scratch) -> Result<Chunk, ConversionError> {
    let Task { job, elements } = &floor.tasks[n];
    let (number, job) = (*job, &floor.output.jobs[*job]);
    let file = &floor.files[job.feed.file];
    let mut bytes = std::mem::take(&mut scratch.source);
    job.feed.read(file, elements, &mut bytes)?;
    let wrong = |source| ConversionError::Codec { path: file.path().to_owned(), tensor: job.feed.name.clone(), source };
    let source = blake3::hash(&bytes).to_hex().to_string();
    let mut loss = Loss::default();
    let mut wrote = Vec::new();
    if job.form.copies() {
        let start = job.places[0] + job.feed.bytes_of(&(0..elements.start));
        floor.part.write(start, &bytes)?;
        wrote.push(Segment { start, length: bytes.len() as u64, hash: source.clone() });
    } else {
        let scale = if job.form.needs_scale() {
            // Others that need it wait for it.
            let mut known = floor.scales[number].lock().unwrap_or_else(PoisonError::into_inner);
            match *known {
                Some(scale) => scale,
                None => *known.insert(job.scale(file)?),
            }
        } else {
            1.0
        };
        let encoder = Encoder { form: &job.form, feed: &job.feed, scale };
        loss = encoder.encode(&bytes, elements, scratch).map_err(wrong)?;
        for (made, place) in scratch.made.iter().zip(&job.places) {
            let start = place + made.at;
            floor.part.write(start, &made.bytes)?;
            if !made.bytes.is_empty() {
                wrote.push(Segment { start, length: made.bytes.len() as u64, hash: blake3::hash(&made.bytes).to_hex().to_string() });
            }
        }
    }
    scratch.source = bytes;
    Ok(Chunk { n, source, wrote, loss })
}

/// Flushes, reads back and journals what the threads wrote, a batch at a time.
fn keep(
    done: &Receiver<Chunk>,
    part: &PartFile,
    journal: &mut Journal,
    all: &mut [Option<Chunk>],
    mut told: impl FnMut(usize),
) -> Result<(), ConversionError> {
    let mut batch: Vec<Chunk> = Vec::new();
    let mut last = Instant::now();
    let mut waiting: Vec<usize> = Vec::new();
    let mut kept = Instant::now();
    loop {
        let came = done.recv();
        let is_over = came.is_err();
        if let Ok(chunk) = came {
            waiting.push(chunk.n);
            batch.push(chunk);
        }
        if is_over || last.elapsed() >= BEAT {
            waiting.drain(..).for_each(&mut told);
            last = Instant::now();
        }
        let unflushed: u64 = batch.iter().flat_map(|c| &c.wrote).map(|s| s.length).sum();
        if !batch.is_empty() && (is_over || unflushed >= UNFLUSHED || kept.elapsed() >= UNKEPT) {
            part.sync()?;
            batch.iter().flat_map(|c| &c.wrote).try_for_each(|segment| check(part, segment))?;
            journal.keep(&batch)?;
            for chunk in batch.drain(..) {
                let n = chunk.n;
                all[n] = Some(chunk);
            }
            kept = Instant::now();
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Reads a segment back and compares.
fn check(part: &PartFile, segment: &Segment) -> Result<(), ConversionError> {
    let mut bytes = vec![0; segment.length as usize];
    part.read(segment.start, &mut bytes)?;
    if blake3::hash(&bytes).to_hex().as_str() == segment.hash { Ok(()) } else { Err(part.damaged(segment)) }
}

/// Returns the hash that [`run`] finds for a source with these tensors, without converting them.
pub fn identify(feeds: &[Feed], files: &[MappedFile]) -> Result<String, ConversionError> {
    let chunks: Vec<(&Feed, Range<u64>)> =
        feeds.iter().flat_map(|feed| Rows::of(&feed.shape).chunks().into_iter().map(move |elements| (feed, elements))).collect();
    let hash = |bytes: &mut Vec<u8>, (feed, elements): &(&Feed, Range<u64>)| {
        let file = &files[feed.file];
        feed.read(file, elements, bytes)?;
        let hash = blake3::hash(bytes).to_hex().to_string();
        Ok(hash)
    };
    let hashes: Vec<String> = chunks.par_iter().map_init(Vec::new, hash).collect::<Result<_, ConversionError>>()?;
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for ((feed, _), hash) in chunks.iter().zip(&hashes) {
        by_name.entry(feed.identity()).or_default().push(hash);
    }
    Ok(all_of(&by_name))
}

/// Returns the hash of tensors by their names, in whichever order they are stored.
fn all_of(by_name: &BTreeMap<String, Vec<&str>>) -> String {
    let mut source = blake3::Hasher::new();
    for (name, hashes) in by_name {
        source.update(name.as_bytes());
        for hash in hashes {
            source.update(hash.as_bytes());
        }
    }
    source.finalize().to_hex().to_string()
}

fn gathered(output: &Output, tasks: &[Task], chunks: Vec<Chunk>, resumed: usize) -> Converted {
    let mut losses = vec![Loss::default(); output.jobs.len()];
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (task, chunk) in tasks.iter().zip(&chunks) {
        losses[task.job].join(chunk.loss);
        by_name.entry(output.jobs[task.job].feed.identity()).or_default().push(&chunk.source);
    }
    let source = all_of(&by_name);
    let total = chunks.len();
    let mut segments: Vec<Segment> = chunks.into_iter().flat_map(|c| c.wrote).collect();
    segments.sort_by_key(|s| s.start);
    Converted { source, segments, losses, resumed, chunks: total }
}
