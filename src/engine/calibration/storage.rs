//! The disk past the page cache, and the page cache: as streaming reads them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memmap2::MmapMut;

use super::Bench;
use crate::engine::EngineError;
use crate::engine::residency::disk::{CHUNK, READERS, memory};
use crate::engine::residency::donor_file::DonorFile;
use crate::library::{LibraryError, MappedFile};
use crate::placement::Subject;
use crate::units::{Bytes, DeviceId};

/// Read at most: more tells nothing new.
const MOST: usize = 1 << 30;
/// A file that is smaller is over before a disk is at speed; one of this size is written then.
const LEAST: usize = 256 << 20;
/// Reading ends after so long, on a slow disk.
const LONGEST: Duration = Duration::from_secs(3);

/// Measures both. The page cache is a way to weights for the processor only.
pub(super) fn measure(bench: &Bench<'_>) -> Result<(), EngineError> {
    let file = source(bench)?;
    let length = file.map.bytes().len().min(MOST) / CHUNK * CHUNK;
    let donor = DonorFile::open(&file.map)?;
    let speed = side_by_side(bench, length, |start, target| donor.read(start as u64, target, CHUNK))?;
    bench.link(Subject::Device(DeviceId::Disk), speed);
    if bench.compute.id == DeviceId::Cpu {
        // In the page cache first, and out of our map.
        side_by_side(bench, length.min(LEAST), |start, _| file.map.fetch(start, CHUNK))?;
        file.map.done_reading(0, length);
        let speed = side_by_side(bench, length.min(LEAST), |start, _| file.map.fetch(start, CHUNK))?;
        file.map.done_reading(0, length);
        bench.link(Subject::PageCache, speed);
    }
    Ok(())
}

/// A file to read, and its name where it is ours to remove.
struct Source {
    map: MappedFile,
    scratch: Option<PathBuf>,
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(path) = &self.scratch {
            remove(path);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("{} is left over: {error}", path.display());
    }
}

/// The largest of the network's files, or one that is written for this where none is large enough.
fn source(bench: &Bench<'_>) -> Result<Source, EngineError> {
    let maps = bench.order.network.iter().map(|path| MappedFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(map) = maps.into_iter().max_by_key(|map| map.bytes().len()).filter(|map| map.bytes().len() >= LEAST) {
        return Ok(Source { map, scratch: None });
    }
    let path = bench.order.scratch.join(format!(".perilune-calibration-{}", std::process::id()));
    let written = write(bench, &path).and_then(|()| Ok(MappedFile::open(&path)?));
    match written {
        Ok(map) => Ok(Source { map, scratch: Some(path) }),
        Err(error) => {
            if path.exists() {
                remove(&path);
            }
            Err(error)
        }
    }
}

/// Writes numbers that no disk can press together, all the way to the disk.
fn write(bench: &Bench<'_>, path: &Path) -> Result<(), EngineError> {
    let failed = |e| LibraryError::io(path, "writing what the disk is measured with", e);
    fs::create_dir_all(&bench.order.scratch).map_err(failed)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut chunk = vec![0u8; CHUNK];
    for _ in 0..LEAST / CHUNK {
        bench.cancel.check()?;
        for eight in chunk.chunks_exact_mut(8) {
            // Xorshift, by George Marsaglia.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            eight.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&chunk).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok(())
}

/// Returns the bytes a second of doing this for all pieces of so many bytes, with several threads.
fn side_by_side(
    bench: &Bench<'_>,
    length: usize,
    piece: impl Fn(usize, &mut [u8]) -> Result<(), LibraryError> + Sync,
) -> Result<f64, EngineError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // In such memory streaming has them come, and into another a disk is half as fast.
    let memory = (0..READERS).map(|_| memory(CHUNK)).collect::<Result<Vec<_>, _>>();
    let memory = memory.map_err(|_| EngineError::OutOfMemory {
        device: DeviceId::Cpu,
        place: "calibration".to_owned(),
        asked: Some(Bytes((READERS * CHUNK) as u64)),
    })?;
    let began = Instant::now();
    let read = |mut target: MmapMut| {
        while began.elapsed() < LONGEST && bench.cancel.check().is_ok() {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start + CHUNK > length {
                break;
            }
            piece(start, &mut target)?;
            done.fetch_add(CHUNK, Ordering::Relaxed);
        }
        Ok::<(), LibraryError>(())
    };
    let read = &read;
    thread::scope(|scope| {
        let readers: Vec<_> = memory.into_iter().map(|target| scope.spawn(move || read(target))).collect();
        readers.into_iter().try_for_each(|reader| reader.join().unwrap_or(Ok(())))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    bench.cancel.check()?;
    Ok(done.load(Ordering::Relaxed) as f64 / seconds.max(f64::MIN_POSITIVE))
}
