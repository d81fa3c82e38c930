//! Streams blocks from their files into host memory, with a few reading threads.

#![expect(unsafe_code, reason = "threads write into slots that tensors lie over later; the notes say why never at once")]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use memmap2::MmapMut;

use super::donor_file::DonorFile;
use super::layout::{Layout, PAGE};
use crate::engine::loading::Vault;
use crate::library::LibraryError;
use crate::placement::stream::{Mover, SlotIndex};
use crate::units::{BlockIndex, Bytes};

/// Reading threads: enough requests at once for a fast disk, and more than libtorch leaves cores for.
const READERS: usize = 4;
/// What one request reads.
const CHUNK: usize = 4 << 20;

/// What streaming has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes that were read.
    pub bytes: Bytes,
    /// Seconds that computing waited for them.
    pub stalled: f64,
    /// Seconds in which something was being read.
    pub busy: f64,
}

impl Traffic {
    /// Returns the median of each.
    #[must_use]
    pub fn typical(steps: &[Self]) -> Self {
        let median = |value: &dyn Fn(&Self) -> f64| {
            let mut values: Vec<f64> = steps.iter().map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Self { bytes: Bytes(median(&|t| t.bytes.get() as f64) as u64), stalled: median(&|t| t.stalled), busy: median(&|t| t.busy) }
    }
}

/// Reads blocks into slots.
#[derive(Debug)]
pub struct DiskMover {
    layouts: Vec<Option<Layout>>,
    slots: Vec<MmapMut>,
    arrivals: Vec<Option<Arc<Arrival>>>,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
    traffic: Traffic,
}

/// A block on its way.
#[derive(Debug)]
struct Arrival {
    begun: Instant,
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
    meter: Mutex<Meter>,
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
    target: Target,
    arrival: Arc<Arrival>,
}

#[derive(Debug)]
struct Target(*mut u8, usize);

// SAFETY: the memory is a slot's, which lives until the readers are joined; a `Target` is its part's only user until the
// block has arrived, which `Arrival` tells through a mutex.
unsafe impl Send for Target {}

impl DiskMover {
    /// Returns a mover of the blocks that have a layout, with so many slots as large as the largest of them.
    pub fn new(vault: &Arc<Vault>, layouts: Vec<Option<Layout>>, slots: usize) -> Result<Self, LibraryError> {
        let files = vault.files().iter().map(DonorFile::open).collect::<Result<_, _>>()?;
        let size = layouts.iter().flatten().map(|l| l.size).max().unwrap_or(0).max(PAGE);
        let path = vault.files().first().map(|f| f.path().to_owned()).unwrap_or_default();
        let failed = |doing| move |e| LibraryError::io(&path, doing, e);
        let memory = (0..slots).map(|_| MmapMut::map_anon(size)).collect::<Result<Vec<_>, _>>();
        let slots = memory.map_err(failed.clone()("taking memory to stream it through"))?;
        let shared =
            Arc::new(Shared { vault: Arc::clone(vault), files, queue: Mutex::default(), changed: Condvar::new(), meter: Mutex::default() });
        let reader = |n: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("donor-{n}")).spawn(move || shared.read_on())
        };
        let readers = (0..READERS).map(reader).collect::<Result<_, _>>().map_err(failed("starting a thread that reads it"))?;
        Ok(Self { layouts, arrivals: vec![None; slots.len()], slots, shared, readers, traffic: Traffic::default() })
    }

    /// Returns the memory of all slots.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        self.slots.iter().map(|slot| Bytes(slot.len() as u64)).sum()
    }

    /// Returns where the weights of a block that is in this slot lie, in the order of the block's parameters.
    #[must_use]
    pub fn weights(&self, block: BlockIndex, slot: SlotIndex) -> Vec<*const u8> {
        let Some(layout) = self.layout(block) else { return Vec::new() };
        layout.offsets.iter().map(|&offset| self.slots[slot.0][offset..].as_ptr()).collect()
    }

    /// Returns what streaming has done since this was last asked.
    pub fn take_traffic(&mut self) -> Traffic {
        let busy = std::mem::take(&mut lock(&self.shared.meter).busy);
        Traffic { busy, ..std::mem::take(&mut self.traffic) }
    }

    fn layout(&self, block: BlockIndex) -> Option<&Layout> {
        self.layouts.get(block.0 as usize)?.as_ref()
    }
}

impl Mover for DiskMover {
    type Error = LibraryError;

    fn begin(&mut self, block: BlockIndex, slot: SlotIndex) -> Result<(), LibraryError> {
        let layout = self.layouts.get(block.0 as usize).and_then(Option::as_ref);
        let spans = layout.map_or(&[][..], |layout| &layout.spans);
        let arrival = Arc::new(Arrival { begun: Instant::now(), state: Mutex::default(), changed: Condvar::new() });
        let memory = &mut self.slots[slot.0];
        let mut chunks = Vec::new();
        for span in spans {
            let parts = memory[span.at..span.at + span.length].chunks_mut(CHUNK);
            for (done, part) in (0..).step_by(CHUNK).zip(parts) {
                let needed = (span.needed - done).min(part.len());
                let target = Target(part.as_mut_ptr(), part.len());
                chunks.push(Chunk { file: span.file, start: span.start + done as u64, needed, target, arrival: Arc::clone(&arrival) });
                self.traffic.bytes += Bytes(needed as u64);
            }
        }
        lock(&arrival.state).missing = chunks.len();
        self.arrivals[slot.0] = Some(arrival);
        lock(&self.shared.queue).chunks.extend(chunks);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn arrive(&mut self, _: BlockIndex, slot: SlotIndex) -> Result<(), LibraryError> {
        let Some(arrival) = self.arrivals[slot.0].take() else { return Ok(()) };
        let began = Instant::now();
        let mut state = lock(&arrival.state);
        while state.missing > 0 {
            state = arrival.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.traffic.stalled += began.elapsed().as_secs_f64();
        state.failure.take().map_or(Ok(()), Err)
    }

    fn leave(&mut self, _: SlotIndex) {
        // The processor has computed when its call returns.
    }
}

impl Shared {
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
        let Chunk { file, start, needed, target: Target(target, length), arrival } = chunk;
        // SAFETY: see `Target`; the range is a part of a slot, cut without overlap.
        let memory = unsafe { std::slice::from_raw_parts_mut(target, length) };
        let map = self.vault.files().get(file).map_or(&[][..], |f| f.bytes());
        let read = self.files.get(file).map_or(Ok(()), |f| f.read(map, start, memory, needed));
        let mut state = lock(&arrival.state);
        state.missing -= 1;
        if let Err(error) = read {
            state.failure.get_or_insert(error);
        }
        let is_last = state.missing == 0;
        drop(state);
        if is_last {
            lock(&self.meter).arrived(arrival.begun);
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
