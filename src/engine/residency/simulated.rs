//! Carries blocks into a ring of a simulated GPU: bytes are copied in the host's memory, and have come when the link that
//! they would come over could have brought them.

#![expect(unsafe_code, reason = "threads write into memory that tensors lie over later; the notes say why never at once")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use memmap2::{Mmap, MmapMut};

use super::carrier::Carrier;
use super::crew::{Arrival, Crew};
use super::disk::{CHUNK, READERS, memory};
use super::donor_file::DonorFile;
use super::faults::{self, Fault};
use super::host_donor::{self, Pieces};
use super::packed::Packed;
use super::poison;
use super::staging::{Wanted, homes};
use super::traffic::{Flow, Traffic};
use crate::engine::loading::{LoadError, Vault};
use crate::engine::simulated::{Granted, Simulated};
use crate::placement::stream::{Mover, Place};
use crate::placement::{Share, Subject};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable};

/// Copies blocks from donors into a ring of the simulated GPU that computes.
#[derive(Debug)]
pub struct SimMover {
    // Joined before the memory that they write into is given back.
    workers: Crew<Part>,
    ring: MmapMut,
    _granted: Option<Granted>,
    simulated: Arc<Simulated>,
    table: BlockTable,
    layouts: Vec<Option<Packed>>,
    homes: BTreeMap<BlockIndex, DeviceId>,
    donors: BTreeMap<DeviceId, Donor>,
    coming: BTreeMap<BlockIndex, Coming>,
    places: BTreeMap<BlockIndex, Place>,
    /// When each link will have done what it was given.
    free_at: BTreeMap<DeviceId, Instant>,
    traffic: Traffic,
}

/// What a donor other than the disk holds.
#[derive(Debug)]
struct Donor {
    memory: Arc<Mmap>,
    pieces: Pieces,
    _granted: Option<Granted>,
}

/// A block on its way.
#[derive(Debug)]
struct Coming {
    arrival: Arc<Arrival<(), LoadError>>,
    there_at: Instant,
}

/// A part of a block, and the memory that it goes to.
#[derive(Debug)]
struct Part {
    source: Source,
    target: Target,
    arrival: Arc<Arrival<(), LoadError>>,
}

#[derive(Debug)]
enum Source {
    File { number: usize, start: u64 },
    Memory { of: Arc<Mmap>, start: usize },
}

#[derive(Debug)]
struct Target(*mut u8, usize);

// SAFETY: the memory is the mover's, which lives until the workers are joined; a `Target` is its part's only user until the
// block has arrived, which `Arrival` tells through a mutex.
unsafe impl Send for Target {}

impl SimMover {
    /// Has the donors hold their blocks, and takes `size` bytes of the GPU for those on their way.
    pub fn new(wanted: Wanted<'_>, layouts: Vec<Option<Packed>>, size: usize, simulated: &Arc<Simulated>) -> Result<Self, LoadError> {
        let granted = simulated.take_here(Bytes(size as u64))?;
        let mut homes: BTreeMap<BlockIndex, DeviceId> = homes(wanted.plan).collect();
        lose_donors(&mut homes);
        let mut pieces: BTreeMap<DeviceId, Pieces> = BTreeMap::new();
        for (index, home) in homes.iter().filter(|(_, home)| **home != DeviceId::Disk) {
            if let Some(layout) = layouts.get(index.0 as usize).and_then(Option::as_ref) {
                pieces.entry(*home).or_default().push(*index, layout);
            }
        }
        let of = |index: BlockIndex| wanted.table.block(index).zip(layouts.get(index.0 as usize)?.as_ref());
        let donor = |(device, pieces): (DeviceId, Pieces)| {
            let granted = simulated.take(device, Bytes(pieces.size() as u64))?;
            let mut memory = host_donor::take(&pieces)?;
            host_donor::fill(&mut memory, &pieces, of, wanted.vault)?;
            let refused = |_| LoadError::Memory { device, bytes: Bytes(pieces.size() as u64) };
            let memory = Arc::new(memory.make_read_only().map_err(refused)?);
            Ok((device, Donor { memory, pieces, _granted: granted }))
        };
        let donors = pieces.into_iter().map(donor).collect::<Result<_, LoadError>>()?;
        let refused = |_: io::Error| LoadError::Memory { device: DeviceId::Cpu, bytes: Bytes(size as u64) };
        Ok(Self {
            workers: workers(wanted.vault)?,
            ring: memory(size.max(1)).map_err(refused)?,
            _granted: granted,
            simulated: Arc::clone(simulated),
            table: wanted.table.clone(),
            layouts,
            homes,
            donors,
            coming: BTreeMap::new(),
            places: BTreeMap::new(),
            free_at: BTreeMap::new(),
            traffic: Traffic::default(),
        })
    }

    fn home(&self, block: BlockIndex) -> DeviceId {
        self.homes.get(&block).copied().unwrap_or(DeviceId::Disk)
    }

    fn layout(&self, block: BlockIndex) -> Option<(&Block, &Packed)> {
        self.table.block(block).zip(self.layouts.get(block.0 as usize)?.as_ref())
    }

    /// Cuts a block into what is copied at a time: where it comes from, where in its place it goes, and how long it is.
    fn parts(&self, block: BlockIndex) -> Vec<(Source, usize, usize)> {
        let Some((of_table, layout)) = self.layout(block) else { return Vec::new() };
        let donor = self.donors.get(&self.home(block)).and_then(|donor| Some((donor, donor.pieces.of(block)?)));
        if let Some((donor, piece)) = donor {
            let part = |at: usize| {
                let source = Source::Memory { of: Arc::clone(&donor.memory), start: piece.start + at };
                (source, at, CHUNK.min(piece.len() - at))
            };
            return (0..piece.len()).step_by(CHUNK).map(part).collect();
        }
        let of_weight = |(param, offset): (&crate::weights::Param, &usize)| {
            let (entry, offset) = (&param.entry, *offset);
            let (number, begin, length) = (entry.file, entry.start, entry.bytes().get() as usize);
            let part = move |at: usize| (Source::File { number, start: begin + at as u64 }, offset + at, CHUNK.min(length - at));
            (0..length).step_by(CHUNK).map(part)
        };
        of_table.params.iter().zip(&layout.offsets).flat_map(of_weight).collect()
    }
}

/// Has the blocks of donors that take nothing stay on the disk.
fn lose_donors(homes: &mut BTreeMap<BlockIndex, DeviceId>) {
    let mut donors: Vec<DeviceId> = homes.values().copied().filter(|home| *home != DeviceId::Disk).collect();
    donors.sort_unstable();
    donors.dedup();
    for donor in donors.into_iter().filter(|_| faults::due(Fault::Donor).is_some()) {
        homes.values_mut().filter(|home| **home == donor).for_each(|home| *home = DeviceId::Disk);
    }
}

/// Starts the threads that copy.
fn workers(vault: &Arc<Vault>) -> Result<Crew<Part>, LoadError> {
    let files: Arc<Vec<DonorFile>> = Arc::new(vault.files().iter().map(DonorFile::open).collect::<Result<_, _>>()?);
    let worker = |_| {
        let files = Arc::clone(&files);
        move |part: Part| bring(part, &files)
    };
    let path = vault.files().first().map(|f| f.path().to_owned()).unwrap_or_default();
    let failed = |e| crate::library::LibraryError::io(&path, "starting a thread that reads it", e);
    Ok(Crew::start((0..READERS).map(worker)).map_err(failed)?)
}

fn bring(part: Part, files: &[DonorFile]) {
    let Part { source, target: Target(target, length), arrival } = part;
    // SAFETY: see `Target`; the range is a part of a block's place, cut without overlap.
    let target = unsafe { std::slice::from_raw_parts_mut(target, length) };
    let came = match source {
        Source::File { number, start } => match files.get(number) {
            Some(file) => file.read_exact(start, target).map_err(LoadError::File),
            None => Ok(()),
        },
        Source::Memory { of, start } => {
            if let Some(bytes) = of.get(start..start + length) {
                target.copy_from_slice(bytes);
            }
            Ok(())
        }
    };
    arrival.came(came);
}

impl Mover for SimMover {
    type Error = LoadError;

    fn begin(&mut self, block: BlockIndex, place: Place, _free: usize) -> Result<(), LoadError> {
        let (home, parts) = (self.home(block), self.parts(block));
        let bytes = self.table.block(block).map_or(Bytes::ZERO, Block::bytes);
        let travel = self.simulated.travel(home, bytes);
        let now = Instant::now();
        let free_at = self.free_at.get(&home).copied().unwrap_or(now).max(now);
        // A link that never brings it brings it in a day.
        let there_at = free_at.checked_add(travel).unwrap_or(free_at + Duration::from_hours(24));
        self.free_at.insert(home, there_at);
        let flow = self.traffic.flows.entry(Subject::Device(home)).or_default();
        *flow = Flow { bytes: flow.bytes + bytes, busy: flow.busy + travel.as_secs_f64() };
        let arrival = Arc::new(Arrival::of(parts.len()));
        let targets: Vec<Part> = parts
            .into_iter()
            .filter_map(|(source, at, length)| {
                let part = self.ring.get_mut(place.0 + at..place.0 + at + length)?;
                Some(Part { source, target: Target(part.as_mut_ptr(), part.len()), arrival: Arc::clone(&arrival) })
            })
            .collect();
        self.coming.insert(block, Coming { arrival, there_at });
        self.places.insert(block, place);
        self.workers.give(targets);
        Ok(())
    }

    fn arrive(&mut self, block: BlockIndex) -> Result<(), LoadError> {
        let Some(Coming { arrival, there_at }) = self.coming.remove(&block) else { return Ok(()) };
        let began = Instant::now();
        let came = arrival.wait();
        thread::sleep(there_at.saturating_duration_since(Instant::now()));
        self.traffic.stalled += began.elapsed().as_secs_f64();
        came.map(drop)
    }

    /// The processor has computed when its call returns.
    fn leave(&mut self, block: BlockIndex, stays: bool) {
        let size = self.layout(block).map_or(0, |(_, layout)| layout.size);
        let left = self.places.get(&block).filter(|_| !stays && poison::is_asked_for());
        if let Some(left) = left.and_then(|place| self.ring.get_mut(place.0..place.0 + size)) {
            left.fill(poison::BYTE);
        }
    }
}

impl Carrier for SimMover {
    fn weights(&self, block: BlockIndex) -> Vec<*const u8> {
        let (Some((_, layout)), Some(place)) = (self.layout(block), self.places.get(&block)) else { return Vec::new() };
        layout.offsets.iter().filter_map(|offset| Some(self.ring.get(place.0 + offset..)?.as_ptr())).collect()
    }

    fn memory(&self) -> Bytes {
        Bytes(self.ring.len() as u64)
    }

    fn held(&self) -> Vec<Share> {
        let on_disk = self.homes.iter().filter(|(_, home)| **home == DeviceId::Disk);
        let on_disk: Bytes = on_disk.filter_map(|(index, _)| self.table.block(*index)).map(Block::bytes).sum();
        let donors = self.donors.iter().map(|(device, donor)| (*device, Bytes(donor.pieces.size() as u64)));
        let disk = (on_disk > Bytes::ZERO).then_some((DeviceId::Disk, on_disk));
        donors.chain(disk).map(|(device, bytes)| Share { device, bytes }).collect()
    }

    fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }
}
