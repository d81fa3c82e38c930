//! Streams blocks from their files into host memory, with a few reading threads.

#![expect(unsafe_code, reason = "threads write into memory that tensors lie over later; the notes say why never at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use memmap2::{Advice, MmapMut};

use super::Traffic;
use super::carrier::Carrier;
use super::crew::{Arrival, Crew, lock};
use super::donor_file::DonorFile;
use super::layout::{Layout, PAGE, Span};
use super::poison;
use super::traffic::Meters;
use crate::engine::loading::{LoadError, Vault};
use crate::library::{LibraryError, MappedFile, page_cache};
use crate::placement::stream::{Mover, Place};
use crate::placement::{Share, Subject};
use crate::units::{BlockIndex, Bytes, DeviceId};

/// Reading threads: enough requests at once for a fast disk, and more than libtorch leaves cores for.
pub const READERS: usize = 4;
/// What one request reads.
pub const CHUNK: usize = 4 << 20;

/// Reads blocks into staging memory.
#[derive(Debug)]
pub struct DiskMover {
    layouts: Vec<Option<Layout>>,
    /// Where each block is, or is on its way to.
    blocks: BTreeMap<BlockIndex, Whereabouts>,
    /// Blocks in the page cache whose pages are in the map of their file. They stay in it after their turn: getting them there
    /// at every pass would take a fifth of a short one. The kernel takes them when memory is wanted, as it does all of the cache.
    at_hand: BTreeSet<BlockIndex>,
    /// What was used of them since this was last asked.
    used_there: Bytes,
    // Joined before the memory that they write into is given back.
    readers: Crew<Chunk>,
    memory: MmapMut,
    shared: Arc<Shared>,
    stalled: f64,
}

/// Where a block is.
#[derive(Debug)]
struct Whereabouts {
    /// Its place in staging memory; without one it is in the page cache, where it lies in the map of its file, and nothing
    /// is copied.
    staged: Option<Place>,
    /// How far its parts have been asked for: bytes from its beginning on.
    asked: usize,
    /// One for each time that some were.
    arrivals: Vec<Arc<Arrival<(), LibraryError>>>,
}

#[derive(Debug)]
struct Shared {
    vault: Arc<Vault>,
    files: Vec<DonorFile>,
    meters: Mutex<Meters>,
}

/// A part of a block, and the memory that it goes to.
#[derive(Debug)]
struct Chunk {
    file: usize,
    start: u64,
    needed: usize,
    /// Memory to read into; without it, what is mapped is made ready to use.
    target: Option<Target>,
    arrival: Arc<Arrival<(), LibraryError>>,
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
        let shared = Arc::new(Shared { vault: Arc::clone(vault), files, meters: Mutex::default() });
        let reader = |_| {
            let shared = Arc::clone(&shared);
            move |chunk| shared.read(chunk)
        };
        let readers = Crew::start((0..READERS).map(reader)).map_err(failed("starting a thread that reads it"))?;
        Ok(Self {
            layouts,
            blocks: BTreeMap::new(),
            at_hand: BTreeSet::new(),
            used_there: Bytes::ZERO,
            readers,
            memory,
            shared,
            stalled: 0.0,
        })
    }

    fn layout(&self, block: BlockIndex) -> Option<&Layout> {
        self.layouts.get(block.0 as usize)?.as_ref()
    }

    /// Has those parts of a block come that lie within its first `free` bytes and are still to be asked for; all of them, where
    /// it is in the page cache.
    fn bring(&mut self, block: BlockIndex, free: usize) {
        let layout = self.layouts.get(block.0 as usize).and_then(Option::as_ref);
        let (Some(layout), Some(here)) = (layout, self.blocks.get_mut(&block)) else { return };
        let is_due = |part: &Span| part.at >= here.asked && (here.staged.is_none() || part.at + part.length <= free);
        let parts: Vec<Span> = layout.spans.iter().flat_map(|span| span.parts(CHUNK)).filter(is_due).collect();
        let Some(last) = parts.last() else { return };
        here.asked = last.at + last.length;
        let arrival = Arc::new(Arrival::of(parts.len()));
        here.arrivals.push(Arc::clone(&arrival));
        let memory = &mut self.memory;
        let chunk = |Span { file, start, length, needed, at }| {
            let target = here.staged.map(|place| &mut memory[place.0 + at..place.0 + at + length]);
            let target = target.map(|target| Target(target.as_mut_ptr(), target.len()));
            Chunk { file, start, needed, target, arrival: Arc::clone(&arrival) }
        };
        self.readers.give(parts.into_iter().map(chunk).collect::<Vec<_>>());
    }
}

impl Mover for DiskMover {
    type Error = LoadError;

    fn flows(&self) -> bool {
        true
    }

    fn begin(&mut self, block: BlockIndex, place: Place, free: usize) -> Result<(), LoadError> {
        let spans = self.layouts.get(block.0 as usize).and_then(Option::as_ref).map_or(&[][..], |layout| &layout.spans);
        let is_cached = spans.iter().all(|span| self.shared.is_cached(span));
        let bytes = Bytes(spans.iter().map(|span| span.needed as u64).sum());
        if is_cached && !self.at_hand.insert(block) {
            self.used_there += bytes;
            self.blocks.insert(block, Whereabouts { staged: None, asked: usize::MAX, arrivals: Vec::new() });
            return Ok(());
        }
        if !is_cached && self.at_hand.remove(&block) {
            for span in spans {
                self.shared.let_go(span);
            }
        }
        lock(&self.shared.meters).of(link(is_cached)).count(bytes);
        self.blocks.insert(block, Whereabouts { staged: (!is_cached).then_some(place), asked: 0, arrivals: Vec::new() });
        self.bring(block, free);
        Ok(())
    }

    fn more(&mut self, block: BlockIndex, free: usize) -> Result<(), LoadError> {
        self.bring(block, free);
        Ok(())
    }

    fn arrive(&mut self, block: BlockIndex) -> Result<(), LoadError> {
        let arrivals = self.blocks.get_mut(&block).map(|here| std::mem::take(&mut here.arrivals)).unwrap_or_default();
        let began = Instant::now();
        // Of a block that cannot come, too, nothing may be on its way any more.
        let came = arrivals.into_iter().map(|arrival| arrival.wait().map(drop)).fold(Ok(()), Result::and);
        self.stalled += began.elapsed().as_secs_f64();
        Ok(came?)
    }

    /// The processor has computed when its call returns.
    fn leave(&mut self, block: BlockIndex, stays: bool) {
        let staged = self.blocks.get(&block).and_then(|here| here.staged).filter(|_| !stays && poison::is_asked_for());
        if let Some((Place(place), layout)) = staged.zip(self.layout(block)) {
            let size = layout.size;
            self.memory[place..place + size].fill(poison::BYTE);
        }
    }
}

impl Drop for DiskMover {
    fn drop(&mut self) {
        let at_hand = self.at_hand.iter().filter_map(|block| self.layout(*block));
        at_hand.flat_map(|layout| &layout.spans).for_each(|span| self.shared.let_go(span));
    }
}

impl Carrier for DiskMover {
    fn weights(&self, block: BlockIndex) -> Vec<*const u8> {
        let (Some(layout), Some(Whereabouts { staged, .. })) = (self.layout(block), self.blocks.get(&block)) else { return Vec::new() };
        let lies = |&offset: &usize| match staged {
            Some(place) => self.memory[place.0 + offset..].as_ptr(),
            None => self.shared.mapped(layout, offset),
        };
        layout.offsets.iter().map(lies).collect()
    }

    fn memory(&self) -> Bytes {
        Bytes(self.memory.len() as u64)
    }

    fn held(&self) -> Vec<Share> {
        vec![Share { device: DeviceId::Disk, bytes: self.layouts.iter().flatten().map(|layout| layout.weights).sum() }]
    }

    fn take_traffic(&mut self) -> Traffic {
        let flows = lock(&self.shared.meters).take();
        Traffic { stalled: std::mem::take(&mut self.stalled), flows, at_hand: std::mem::take(&mut self.used_there) }
    }
}

/// Returns which link a file's bytes come over.
#[must_use]
pub fn link(is_cached: bool) -> Subject {
    if is_cached { Subject::PageCache } else { Subject::Device(DeviceId::Disk) }
}

/// Takes memory that is never moved. Large pages spare the disk's driver and the processor most of their book-keeping.
pub fn memory(size: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(size)?;
    if let Err(error) = memory.advise(Advice::HugePage) {
        tracing::debug!("staging memory is in small pages: {error}");
    }
    Ok(memory)
}

/// Returns whether the page cache holds all of a span.
#[must_use]
pub fn is_cached(vault: &Vault, span: &Span) -> bool {
    vault.files().get(span.file).is_some_and(|map| page_cache::holds(map, span.start as usize, span.needed))
}

impl Shared {
    fn map(&self, file: usize) -> Option<&MappedFile> {
        self.vault.files().get(file)
    }

    fn is_cached(&self, span: &Span) -> bool {
        is_cached(&self.vault, span)
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

    fn read(&self, chunk: Chunk) {
        let Chunk { file, start, needed, target, arrival } = chunk;
        let is_cached = target.is_none();
        let _part = arrival.underway();
        let read = match (target, self.files.get(file), self.map(file)) {
            (Some(Target(target, length)), Some(file), _) => {
                // SAFETY: see `Target`; the range is a part of a block's place, cut without overlap.
                file.read(start, unsafe { std::slice::from_raw_parts_mut(target, length) }, needed)
            }
            (None, _, Some(map)) => map.fetch(start as usize, needed),
            (Some(_), None, _) | (None, _, None) => Ok(()),
        };
        let begun = arrival.begun;
        if arrival.came(read) {
            lock(&self.meters).of(link(is_cached)).arrived(begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::placement::stream::{Stream, Streamed};
    use crate::weights::{Block, DType, Param, Shape, TensorEntry};

    /// Bytes of a file, each four of them their own place in it.
    fn numbers(length: usize) -> Vec<u8> {
        (0u32..).flat_map(u32::to_le_bytes).take(length).collect()
    }

    fn block((begin, end): (usize, usize)) -> Block {
        let entry = TensorEntry {
            name: "w".to_owned(),
            dtype: DType::U8,
            shape: Shape::from([(end - begin) as u64]),
            file: 0,
            start: begin as u64,
            end: end as u64,
            coded: None,
        };
        Block { name: "b".to_owned(), params: vec![Param { name: "w".to_owned(), entry }], pinned: false }
    }

    /// Blocks of several parts through a ring that never has room for two of them, so that all but the first flow in.
    #[test]
    fn blocks_of_many_parts_flow_through_a_ring_that_is_spoilt_behind_them() {
        const MIB: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let bytes = numbers(60 * MIB);
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        let vault = Vault::open(&[path]).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let places = [(100, 17 * MIB), (17 * MIB, 20 * MIB + 7), (21 * MIB, 39 * MIB), (39 * MIB, 59 * MIB + 4000)];
        let layouts: Vec<Layout> = places.iter().map(|place| Layout::of(&block(*place))).collect();
        let order: Vec<Streamed> =
            (0..).map(BlockIndex).zip(&layouts).map(|(block, layout)| Streamed { block, size: layout.size }).collect();
        let ring = layouts.iter().map(|layout| layout.size).max().unwrap() + 9 * MIB;
        let mut mover = DiskMover::new(&vault, layouts.into_iter().map(Some).collect(), ring).unwrap();
        let mut stream = Stream::new(order, ring);
        poison::ask_for();
        for (n, (begin, end)) in places.into_iter().enumerate().cycle().take(3 * places.len()) {
            let index = BlockIndex(n as u32);
            stream.acquire(index, &mut mover).unwrap();
            // What comes too early is there now.
            mover.blocks.values().flat_map(|here| &here.arrivals).for_each(|arrival| drop(arrival.wait().unwrap()));
            let weights = mover.weights(index)[0];
            // SAFETY: the block has arrived, and is lent until the next one is asked for.
            let came = unsafe { std::slice::from_raw_parts(weights, end - begin) };
            assert!(came == &bytes[begin..end], "block {n}");
        }
        stream.settle(&mut mover).unwrap();
        // A file system that lies in memory has its bytes in the page cache, always.
        if let Some(Place(place)) = mover.blocks[&BlockIndex(3)].staged {
            let size = mover.layout(BlockIndex(3)).unwrap().size;
            assert!(mover.memory[place..place + size].iter().all(|byte| *byte == poison::BYTE), "what was computed with still lies there");
        }
    }
}
