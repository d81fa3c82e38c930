//! Runs a conversion: threads take the next chunk, convert it and fill trays with it; others write these to their places; one
//! more flushes and journals what was written.
//!
//! ```text
//! page cache → [pieces: read, hash, convert, hash] → trays → [write] → disk → [flush, journal]
//!                  a thread for each core                   4 threads            one thread
//! ```
//!
//! Memory does not depend on the model: a thread holds a small part of a chunk, and trays are a ring. Chunks are taken in the
//! order of the file, so writes are nearly in order. What was written is hashed as it is handed over and not read back: so soon
//! afterwards that would ask the page cache or the disk's own, and not what it keeps; `cache verify` reads it later.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::ConversionError;
use super::chunk::Rows;
use super::feed::Feed;
use super::journal::{Chunk, Journal, Loss};
use super::output::{Job, Output};
use super::part_file::PartFile;
use super::tray::Trays;
use super::work::{self, Floor, Task, Told, WRITERS};
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
    let threads = watch.threads.clamp(1, open.len().max(1));
    let trays = Trays::new(work::trays(threads), part.page()).map_err(ConversionError::io(part.path(), "taking memory to make it in"))?;
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
        trays: &trays,
    };
    let read = |task: &Task| output.jobs[task.job].feed.bytes_of(&task.elements);
    let total: u64 = tasks.iter().map(read).sum();
    let mut came = total - floor.open.iter().map(|n| read(&tasks[*n])).sum::<u64>();
    let ((full, fulls), (told, news)) = (channel(), channel());
    let fulls = Mutex::new(fulls);
    thread::scope(|scope| {
        let mut crew = Vec::new();
        for _ in 0..threads {
            let (floor, full, told) = (&floor, full.clone(), told.clone());
            crew.push(scope.spawn(move || work::convert(floor, &full, &told)));
        }
        for _ in 0..WRITERS {
            let (floor, fulls, told) = (&floor, &fulls, told.clone());
            crew.push(scope.spawn(move || work::write(floor, fulls, &told)));
        }
        // Whoever listens ends with the last who talks.
        drop((full, told));
        let came = |n: usize| {
            came += read(&tasks[n]);
            (watch.tell)(Bytes(came), Bytes(total));
        };
        let kept = keep(&news, part, journal, &mut done, came);
        if kept.is_err() {
            floor.failed.store(true, Ordering::Relaxed);
        }
        let worked: Result<Vec<()>, ConversionError> =
            crew.into_iter().map(|t| t.join().unwrap_or_else(|cause| panic::resume_unwind(cause))).collect();
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

/// Flushes and journals what the threads made and wrote, a batch at a time.
fn keep(
    told: &Receiver<Told>,
    part: &PartFile,
    journal: &mut Journal,
    all: &mut [Option<Chunk>],
    mut came: impl FnMut(usize),
) -> Result<(), ConversionError> {
    let mut under_way: BTreeMap<usize, UnderWay> = BTreeMap::new();
    let mut batch: Vec<Chunk> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let (mut last, mut kept) = (Instant::now(), Instant::now());
    loop {
        let news = told.recv();
        let is_over = news.is_err();
        if let Some(chunk) = news.ok().and_then(|news| written(&mut under_way, news)) {
            waiting.push(chunk.n);
            batch.push(chunk);
        }
        if is_over || last.elapsed() >= BEAT {
            waiting.drain(..).for_each(&mut came);
            last = Instant::now();
        }
        let unflushed: u64 = batch.iter().flat_map(|c| &c.wrote).map(|s| s.length).sum();
        if !batch.is_empty() && (is_over || unflushed >= UNFLUSHED || kept.elapsed() >= UNKEPT) {
            part.sync()?;
            journal.keep(&batch).map_err(|error| part.or_no_space(error))?;
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

/// A chunk of which not all was told.
#[derive(Default)]
struct UnderWay {
    /// What it is, and how many trays it filled.
    made: Option<(Chunk, usize)>,
    /// How many of these were written.
    wrote: usize,
}

/// Returns the chunk of which everything is written by these news, if there is one.
fn written(under_way: &mut BTreeMap<usize, UnderWay>, news: Told) -> Option<Chunk> {
    let n = match news {
        Told::Made(chunk, trays) => {
            let n = chunk.n;
            under_way.entry(n).or_default().made = Some((chunk, trays));
            n
        }
        Told::Wrote(n) => {
            under_way.entry(n).or_default().wrote += 1;
            n
        }
    };
    let is_written = under_way.get(&n).is_some_and(|u| u.made.as_ref().is_some_and(|(_, trays)| *trays == u.wrote));
    if is_written { under_way.remove(&n)?.made.map(|(chunk, _)| chunk) } else { None }
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
