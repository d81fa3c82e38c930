//! Streams blocks from their files into host memory, with a few reading threads.

#![expect(unsafe_code, reason = "threads write into memory that tensors lie over later; the notes say why never at once")]

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use memmap2::{Advice, MmapMut};

use super::donor_file::{DonorFile, in_page_cache};
use super::layout::{Layout, PAGE, Span};
use crate::engine::loading::Vault;
use crate::library::{LibraryError, MappedFile};
use crate::placement::stream::{Mover, Place};
use crate::units::{BlockIndex, Bytes};

/// Reading threads: enough requests at once for a fast disk, and more than libtorch leaves cores for.
const READERS: usize = 4;
/// What one request reads.
const CHUNK: usize = 4 << 20;

/// What streaming has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes that were fetched.
    pub bytes: Bytes,
    /// What of them the page cache held: it was used where it lies.
    pub cached: Bytes,
    /// Seconds that computing waited for them.
    pub stalled: f64,
    /// Seconds in which something was being read from the disk.
    pub busy: f64,
    /// Seconds in which something that the page cache held was made ready.
    pub busy_cached: f64,
}

impl Traffic {
    /// Returns the median of each.
    #[must_use]
    pub fn typical(steps: &[Self]) -> Self {
        Self {
            bytes: median(steps, |t| t.bytes, Ord::cmp),
            cached: median(steps, |t| t.cached, Ord::cmp),
            stalled: median(steps, |t| t.stalled, f64::total_cmp),
            busy: median(steps, |t| t.busy, f64::total_cmp),
            busy_cached: median(steps, |t| t.busy_cached, f64::total_cmp),
        }
    }
}

fn median<T: Copy + Default>(steps: &[Traffic], value: impl Fn(&Traffic) -> T, order: impl Fn(&T, &T) -> Ordering) -> T {
    let mut values: Vec<T> = steps.iter().map(value).collect();
    values.sort_unstable_by(order);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Reads blocks into staging memory.
#[derive(Debug)]
pub struct DiskMover {
    layouts: Vec<Option<Layout>>,
    memory: MmapMut,
    /// Where each block is, or is on its way to.
    blocks: BTreeMap<BlockIndex, Whereabouts>,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
    traffic: Traffic,
}

/// Where a block is.
#[derive(Debug)]
struct Whereabouts {
    /// Its place in staging memory; without one it is in the page cache, where it lies in the map of its file, and nothing
    /// is copied.
    staged: Option<Place>,
    arrival: Option<Arc<Arrival>>,
}

/// A block on its way.
#[derive(Debug)]
struct Arrival {
    begun: Instant,
    is_cached: bool,
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    missing: usize,
    failure: Option<LibraryError>,
}

#[derive(Debug)]
struct Shared {
    vault: Arc<Vault>,
    files: Vec<DonorFile>,
    queue: Mutex<Queue>,
    changed: Condvar,
    meters: Mutex<Meters>,
}

/// How long was read from the disk, and how long from the page cache.
#[derive(Debug, Default)]
struct Meters {
    disk: Meter,
    cache: Meter,
}

/// How long something was being read: blocks may come at the same time.
#[derive(Debug, Default)]
struct Meter {
    until: Option<Instant>,
    busy: f64,
}

impl Meter {
    fn arrived(&mut self, begun: Instant) {
        let now = Instant::now();
        let from = self.until.map_or(begun, |until| until.max(begun));
        self.busy += now.saturating_duration_since(from).as_secs_f64();
        self.until = Some(now);
    }
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    closed: bool,
}

/// A part of a block, and the memory that it goes to.
#[derive(Debug)]
struct Chunk {
    file: usize,
    start: u64,
    needed: usize,
    /// Memory to read into; without it, what is mapped is made ready to use.
    target: Option<Target>,
    arrival: Arc<Arrival>,
}

#[derive(Debug)]
struct Target(*mut u8, usize);

// SAFETY: the memory is the mover's, which lives until the readers are joined; a `Target` is its part's only user until the
// block has arrived, which `Arrival` tells through a mutex.
unsafe impl Send for Target {}

impl DiskMover {
    /// Returns a mover of the blocks that have a layout, with `size` bytes of staging memory.
    pub fn new(vault: &Arc<Vault>, layouts: Vec<Option<Layout>>, size: usize) -> Result<Self, LibraryError> {
        let files = vault.files().iter().map(DonorFile::open).collect::<Result<_, _>>()?;
        let path = vault.files().first().map(|f| f.path().to_owned()).unwrap_or_default();
        let failed = |doing| move |e| LibraryError::io(&path, doing, e);
        let memory = memory(size.max(PAGE)).map_err(failed.clone()("taking memory to stream it through"))?;
        let shared = Arc::new(Shared {
            vault: Arc::clone(vault),
            files,
            queue: Mutex::default(),
            changed: Condvar::new(),
            meters: Mutex::default(),
        });
        let reader = |n: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("donor-{n}")).spawn(move || shared.read_on())
        };
        let readers = (0..READERS).map(reader).collect::<Result<_, _>>().map_err(failed("starting a thread that reads it"))?;
        Ok(Self { layouts, memory, blocks: BTreeMap::new(), shared, readers, traffic: Traffic::default() })
    }

    /// Returns the staging memory.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        Bytes(self.memory.len() as u64)
    }

    /// Returns where the weights of a block that has arrived lie, in the order of the block's parameters.
    #[must_use]
    pub fn weights(&self, block: BlockIndex) -> Vec<*const u8> {
        let (Some(layout), Some(Whereabouts { staged, .. })) = (self.layout(block), self.blocks.get(&block)) else { return Vec::new() };
        let lies = |&offset: &usize| match staged {
            Some(place) => self.memory[place.0 + offset..].as_ptr(),
            None => self.shared.mapped(layout, offset),
        };
        layout.offsets.iter().map(lies).collect()
    }

    /// Returns what streaming has done since this was last asked.
    pub fn take_traffic(&mut self) -> Traffic {
        let mut meters = lock(&self.shared.meters);
        let (busy, busy_cached) = (std::mem::take(&mut meters.disk.busy), std::mem::take(&mut meters.cache.busy));
        drop(meters);
        Traffic { busy, busy_cached, ..std::mem::take(&mut self.traffic) }
    }

    fn layout(&self, block: BlockIndex) -> Option<&Layout> {
        self.layouts.get(block.0 as usize)?.as_ref()
    }
}

impl Mover for DiskMover {
    type Error = LibraryError;

    fn begin(&mut self, block: BlockIndex, place: Place) -> Result<(), LibraryError> {
        let layout = self.layouts.get(block.0 as usize).and_then(Option::as_ref);
        let spans = layout.map_or(&[][..], |layout| &layout.spans);
        let is_cached = spans.iter().all(|span| self.shared.is_cached(span));
        let arrival = Arc::new(Arrival { begun: Instant::now(), is_cached, state: Mutex::default(), changed: Condvar::new() });
        let mut chunks = Vec::new();
        for span in spans {
            let from = place.0 + span.at;
            let parts = self.memory[from..from + span.length].chunks_mut(CHUNK);
            for (done, part) in (0..).step_by(CHUNK).zip(parts) {
                let needed = (span.needed - done).min(part.len());
                let target = (!is_cached).then_some(Target(part.as_mut_ptr(), part.len()));
                chunks.push(Chunk { file: span.file, start: span.start + done as u64, needed, target, arrival: Arc::clone(&arrival) });
                self.traffic.bytes += Bytes(needed as u64);
                self.traffic.cached += if is_cached { Bytes(needed as u64) } else { Bytes::ZERO };
            }
        }
        lock(&arrival.state).missing = chunks.len();
        self.blocks.insert(block, Whereabouts { staged: (!is_cached).then_some(place), arrival: Some(arrival) });
        lock(&self.shared.queue).chunks.extend(chunks);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn arrive(&mut self, block: BlockIndex) -> Result<(), LibraryError> {
        let Some(arrival) = self.blocks.get_mut(&block).and_then(|b| b.arrival.take()) else { return Ok(()) };
        let began = Instant::now();
        let mut state = lock(&arrival.state);
        while state.missing > 0 {
            state = arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.traffic.stalled += began.elapsed().as_secs_f64();
        state.failure.take().map_or(Ok(()), Err)
    }

    fn leave(&mut self, block: BlockIndex) {
        // The processor has computed when its call returns. What lies in the page cache goes back to being only there.
        if let Some(Whereabouts { staged: None, .. }) = self.blocks.get(&block)
            && let Some(layout) = self.layout(block)
        {
            layout.spans.iter().for_each(|span| self.shared.let_go(span));
        }
    }
}

/// Takes memory that is never moved. Large pages spare the disk's driver and the processor most of their book-keeping.
fn memory(size: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(size)?;
    if let Err(error) = memory.advise(Advice::HugePage) {
        tracing::debug!("staging memory is in small pages: {error}");
    }
    Ok(memory)
}

impl Shared {
    fn map(&self, file: usize) -> Option<&MappedFile> {
        self.vault.files().get(file)
    }

    /// Returns whether the page cache holds all of a span.
    fn is_cached(&self, span: &Span) -> bool {
        let bytes = self.map(span.file).and_then(|map| map.bytes().get(span.start as usize..span.start as usize + span.needed));
        bytes.is_some_and(in_page_cache)
    }

    /// Returns where what would lie at this offset of a block's place lies in its file's map.
    fn mapped(&self, layout: &Layout, offset: usize) -> *const u8 {
        let span = layout.spans.iter().find(|span| (span.at..span.at + span.length).contains(&offset));
        let bytes = span.and_then(|span| self.map(span.file)?.bytes().get(span.start as usize + offset - span.at..));
        bytes.map_or(std::ptr::null(), <[u8]>::as_ptr)
    }

    fn let_go(&self, span: &Span) {
        if let Some(map) = self.map(span.file) {
            map.done_reading(span.start as usize, span.needed);
        }
    }

    /// Reads what is in the queue until it is closed.
    fn read_on(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let chunk = loop {
                match queue.chunks.pop_front() {
                    Some(chunk) => break chunk,
                    None if queue.closed => return,
                    None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            self.read(chunk);
        }
    }

    fn read(&self, chunk: Chunk) {
        let Chunk { file, start, needed, target, arrival } = chunk;
        let read = match (target, self.files.get(file), self.map(file)) {
            (Some(Target(target, length)), Some(file), _) => {
                // SAFETY: see `Target`; the range is a part of a block's place, cut without overlap.
                file.read(start, unsafe { std::slice::from_raw_parts_mut(target, length) }, needed)
            }
            (None, _, Some(map)) => map.fetch(start as usize, needed),
            (Some(_), None, _) | (None, _, None) => Ok(()),
        };
        let mut state = lock(&arrival.state);
        state.missing -= 1;
        if let Err(error) = read {
            state.failure.get_or_insert(error);
        }
        let is_last = state.missing == 0;
        drop(state);
        if is_last {
            let mut meters = lock(&self.meters);
            let meter = if arrival.is_cached { &mut meters.cache } else { &mut meters.disk };
            meter.arrived(arrival.begun);
        }
        arrival.changed.notify_all();
    }
}

impl Drop for DiskMover {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.chunks.clear();
        queue.closed = true;
        drop(queue);
        self.shared.changed.notify_all();
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                tracing::error!("a reading thread panicked");
            }
        }
    }
}

/// Nothing that panics is done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
