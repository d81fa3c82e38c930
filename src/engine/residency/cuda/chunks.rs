//! Brings blocks that no GPU can read itself: from files, and from host memory that is not pinned. A few threads read into
//! small pinned buffers, and each has the GPU copy from them on a stream of its own.

#![expect(unsafe_code, reason = "copies whose source and target others keep; the notes say who and how long")]

use std::sync::{Arc, Mutex};

use super::driver::{Context, Event, Stream};
use super::masters::HostMemory;
use crate::engine::loading::{LoadError, Vault};
use crate::engine::residency::crew::{Arrival, Crew, lock};
use crate::engine::residency::disk::{CHUNK, READERS, is_cached, link, memory};
use crate::engine::residency::donor_file::DonorFile;
use crate::engine::residency::layout::{Layout, Span};
use crate::engine::residency::packed::Packed;
use crate::engine::residency::traffic::Meters;
use crate::library::LibraryError;
use crate::placement::Subject;
use crate::units::{Bytes, DeviceId};
use crate::weights::Block;

/// Buffers of a thread: one is read into while the GPU copies from the other.
const BUFFERS: usize = 2;

/// A block on its way through chunks.
pub(super) type Coming = Arrival<Arc<Event>, LoadError>;

/// The threads, and what they have carried.
#[derive(Debug)]
pub(super) struct Chunks {
    crew: Crew<Chunk>,
    vault: Arc<Vault>,
    meters: Arc<Mutex<Meters>>,
}

/// What one thread does at a time.
#[derive(Debug)]
struct Chunk {
    source: Source,
    /// Which of the bytes that were read go where.
    pieces: Vec<Piece>,
    /// What must have been before the GPU's memory may be written to.
    after: Arc<[Arc<Event>]>,
    link: Subject,
    coming: Arc<Coming>,
}

#[derive(Debug)]
enum Source {
    File { file: usize, start: u64, length: usize, needed: usize, is_cached: bool },
    Memory(Lent),
}

/// Bytes of a donor in host memory.
#[derive(Debug)]
struct Lent(*const u8, usize);

// SAFETY: the donor's memory is only read, and lives until the threads are joined.
unsafe impl Send for Lent {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    from: usize,
    target: u64,
    length: usize,
}

impl Chunks {
    /// Starts the threads.
    pub(super) fn start(vault: &Arc<Vault>, context: &Arc<Context>) -> Result<Self, LoadError> {
        let files: Arc<[DonorFile]> = vault.files().iter().map(DonorFile::open).collect::<Result<Vec<_>, _>>()?.into();
        let meters = Arc::<Mutex<Meters>>::default();
        let hands = (0..READERS).map(|_| Hand::new(&files, context, &meters)).collect::<Result<Vec<_>, _>>()?;
        let path = vault.files().first().map(|f| f.path().to_owned()).unwrap_or_default();
        let workers = hands.into_iter().map(|mut hand| move |chunk| hand.carry(chunk));
        let crew = Crew::start(workers).map_err(|e| LibraryError::io(&path, "starting a thread that reads it", e))?;
        Ok(Self { crew, vault: Arc::clone(vault), meters })
    }

    /// Begins to bring a block from its files to the GPU's memory at `target`, which may be written to once `after` has been.
    pub(super) fn bring_from_files(&self, block: &Block, packed: &Packed, target: u64, after: &Arc<[Arc<Event>]>) -> Arc<Coming> {
        let layout = Layout::of(block);
        let is_cached = layout.spans.iter().all(|span| is_cached(&self.vault, span));
        let part = |Span { file, start, length, needed, at }| {
            (Source::File { file, start, length, needed, is_cached }, pieces(block, &layout, packed, (at, length), target))
        };
        let parts = layout.spans.iter().flat_map(|span| span.parts(CHUNK)).map(part).collect();
        self.give(parts, after, link(is_cached), block.bytes())
    }

    /// The same from host memory, which must stay as long as the threads.
    pub(super) fn bring_from_memory(&self, bytes: &[u8], target: u64, after: &Arc<[Arc<Event>]>) -> Arc<Coming> {
        let part = |(n, part): (usize, &[u8])| {
            let whole = Piece { from: 0, target: target + (n * CHUNK) as u64, length: part.len() };
            (Source::Memory(Lent(part.as_ptr(), part.len())), vec![whole])
        };
        let parts = bytes.chunks(CHUNK).enumerate().map(part).collect();
        self.give(parts, after, Subject::Device(DeviceId::Cpu), Bytes(bytes.len() as u64))
    }

    fn give(&self, parts: Vec<(Source, Vec<Piece>)>, after: &Arc<[Arc<Event>]>, link: Subject, bytes: Bytes) -> Arc<Coming> {
        let coming = Arc::new(Coming::of(parts.len()));
        lock(&self.meters).of(link).count(bytes);
        let chunk = |(source, pieces)| Chunk { source, pieces, after: Arc::clone(after), link, coming: Arc::clone(&coming) };
        self.crew.give(parts.into_iter().map(chunk));
        coming
    }

    /// Returns the meters of what has come.
    pub(super) fn meters(&self) -> &Mutex<Meters> {
        &self.meters
    }
}

/// Returns which bytes of `(start, length)` of a block's layout go where.
fn pieces(block: &Block, layout: &Layout, packed: &Packed, (start, length): (usize, usize), target: u64) -> Vec<Piece> {
    let piece = |((param, at), to): ((&crate::weights::Param, &usize), &usize)| {
        let (begin, end) = ((*at).max(start), (at + param.entry.bytes().get() as usize).min(start + length));
        (begin < end).then(|| Piece { from: begin - start, target: target + (to + begin - at) as u64, length: end - begin })
    };
    block.params.iter().zip(&layout.offsets).zip(&packed.offsets).filter_map(piece).collect()
}

/// One thread's buffers and stream.
struct Hand {
    stream: Stream,
    context: Arc<Context>,
    /// With the event behind the last copy from it.
    buffers: Vec<(HostMemory, Option<Arc<Event>>)>,
    turn: usize,
    files: Arc<[DonorFile]>,
    meters: Arc<Mutex<Meters>>,
}

impl Hand {
    fn new(files: &Arc<[DonorFile]>, context: &Arc<Context>, meters: &Arc<Mutex<Meters>>) -> Result<Self, LoadError> {
        let buffer = |_| {
            let memory = memory(CHUNK).map_err(|_| LoadError::Memory { device: DeviceId::Cpu, bytes: Bytes(CHUNK as u64) })?;
            Ok::<_, LoadError>((HostMemory::pinned(memory, context), None))
        };
        let buffers = (0..BUFFERS).map(buffer).collect::<Result<_, _>>()?;
        let (files, meters) = (Arc::clone(files), Arc::clone(meters));
        Ok(Self { stream: Stream::new(context)?, context: Arc::clone(context), buffers, turn: 0, files, meters })
    }

    fn carry(&mut self, chunk: Chunk) {
        let (coming, link) = (Arc::clone(&chunk.coming), chunk.link);
        let _part = coming.underway();
        let carried = self.try_to_carry(chunk);
        let begun = coming.begun;
        if coming.came(carried) {
            lock(&self.meters).of(link).arrived(begun);
        }
    }

    fn try_to_carry(&mut self, chunk: Chunk) -> Result<Arc<Event>, LoadError> {
        self.turn = (self.turn + 1) % self.buffers.len();
        let Self { stream, context, buffers, turn, files, .. } = self;
        let (buffer, last) = &mut buffers[*turn];
        if let Some(last) = last.take() {
            last.synchronize()?;
        }
        match chunk.source {
            Source::File { file, start, length, needed, is_cached } => {
                let Some(file) = files.get(file) else { return Ok(Arc::new(Event::ordering(context)?)) };
                let target = &mut buffer.bytes_mut()[..length];
                if is_cached { file.read_exact(start, &mut target[..needed])? } else { file.read(start, target, needed)? }
            }
            Source::Memory(Lent(start, length)) => {
                // SAFETY: see `Lent`.
                buffer.bytes_mut()[..length].copy_from_slice(unsafe { std::slice::from_raw_parts(start, length) });
            }
        }
        chunk.after.iter().try_for_each(|event| stream.wait(event))?;
        let event = Arc::new(Event::ordering(context)?);
        for Piece { from, target, length } in chunk.pieces {
            let source = buffer.bytes()[from..from + length].as_ptr();
            // SAFETY: the buffer is not written to before the event below has been, and the mover keeps the target for this
            // block until computing has left it.
            unsafe { stream.upload(target, source, length) }?;
        }
        stream.record(&event)?;
        *last = Some(Arc::clone(&event));
        Ok(event)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // The buffers must outlive the copies from them.
        if let Err(error) = self.stream.synchronize() {
            tracing::debug!("{error}");
        }
    }
}
