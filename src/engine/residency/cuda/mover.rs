//! Carries blocks into a ring on a GPU.

#![expect(unsafe_code, reason = "copies between memory that this type keeps, ordered by events")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::chunks::{Chunks, Coming};
use super::driver::{Context, Event, Stream};
use super::masters::{Donated, HostMemory, Masters};
use super::timing::Timing;
use crate::engine::device::Compute;
use crate::engine::loading::LoadError;
use crate::engine::residency::carrier::Carrier;
use crate::engine::residency::crew::lock;
use crate::engine::residency::packed::Packed;
use crate::engine::residency::poison;
use crate::engine::residency::staging::{Wanted, homes};
use crate::engine::residency::{Traffic, host_donor::Pieces};
use crate::placement::stream::{Mover, Place};
use crate::placement::{Share, Subject};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable};

/// Copies blocks from donors into a ring of the GPU that computes.
#[derive(Debug)]
pub struct CudaMover {
    // Joined before the memory that they copy from and to is given back.
    chunks: Option<Chunks>,
    table: BlockTable,
    layouts: Vec<Option<Packed>>,
    homes: BTreeMap<BlockIndex, DeviceId>,
    masters: Masters,
    /// A stream for each donor whose memory the GPU reads itself.
    links: BTreeMap<DeviceId, Stream>,
    /// Libtorch's.
    computing: Stream,
    context: Arc<Context>,
    ring: Tensor,
    size: usize,
    blocks: BTreeMap<BlockIndex, Whereabouts>,
    /// Until when each part of the ring is in use, apart from blocks that are on their way or on loan.
    left: Left,
    timing: Timing,
}

/// Where a block is, and how it is known that it has come.
#[derive(Debug)]
struct Whereabouts {
    place: Range<usize>,
    way: Option<Way>,
}

#[derive(Debug)]
enum Way {
    /// One copy, on its stream behind this event.
    Copy(Arc<Event>),
    /// Several, each with its event once it is on a stream.
    Chunks(Arc<Coming>),
}

impl CudaMover {
    /// Has the donors hold their blocks, and takes `size` bytes of the GPU for those on their way.
    pub fn new(wanted: Wanted<'_>, layouts: Vec<Option<Packed>>, size: usize, compute: &Compute) -> Result<Self, LoadError> {
        let DeviceId::Cuda(index) = compute.id else { return Err(LoadError::NoWay { from: DeviceId::Cpu, to: compute.id }) };
        let context = Context::of(usize::from(index))?;
        let length = i64::try_from(size).unwrap_or(i64::MAX);
        let ring = Tensor::f_empty([length], (Kind::Uint8, compute.device))?;
        let donated: Vec<Donated<'_>> = homes(wanted.plan)
            .filter_map(|(index, home)| {
                let layout = layouts.get(index.0 as usize)?.as_ref()?;
                Some(Donated { index, home, block: wanted.table.block(index)?, layout })
            })
            .collect();
        let masters = Masters::bring(&donated, wanted.vault, &context)?;
        let homes: BTreeMap<BlockIndex, DeviceId> = donated.iter().map(|one| (one.index, one.home)).collect();
        let is_pageable = masters.host.as_ref().is_some_and(|host| matches!(host.memory, HostMemory::Pageable(_)));
        let in_chunks = |home: DeviceId| home == DeviceId::Disk || (home == DeviceId::Cpu && is_pageable);
        let chunks = if homes.values().any(|home| in_chunks(*home)) { Some(Chunks::start(wanted.vault, &context)?) } else { None };
        let mut links = BTreeMap::new();
        for home in homes.values().filter(|home| !in_chunks(**home)) {
            if !links.contains_key(home) {
                links.insert(*home, Stream::new(&context)?);
            }
        }
        // The ring's memory may have been something else's, on libtorch's stream, until just now.
        compute.synchronize();
        Ok(Self {
            chunks,
            table: wanted.table.clone(),
            layouts,
            homes,
            masters,
            links,
            computing: Stream::of_libtorch(&context),
            context,
            ring,
            size,
            blocks: BTreeMap::new(),
            left: Left::default(),
            timing: Timing::default(),
        })
    }

    /// The address of a part of the ring.
    fn address(&self, at: usize) -> u64 {
        self.ring.data_ptr().addr() as u64 + at as u64
    }

    fn layout(&self, block: BlockIndex) -> Option<(&Block, &Packed)> {
        self.table.block(block).zip(self.layouts.get(block.0 as usize)?.as_ref())
    }

    fn timed(&self, stream: &Stream) -> Result<Arc<Event>, LoadError> {
        let event = Arc::new(Event::timed(&self.context)?);
        stream.record(&event)?;
        Ok(event)
    }

    /// Has a block copied in one go from memory that the GPU reads itself; nothing where its home is not such memory.
    fn copy(&mut self, block: BlockIndex, home: DeviceId, place: &Range<usize>, after: &[Arc<Event>]) -> Result<Option<Way>, LoadError> {
        let Some(stream) = self.links.get(&home) else { return Ok(None) };
        let held = |pieces: &Pieces| pieces.of(block);
        let (begin, length) = (self.address(place.start), place.len());
        after.iter().try_for_each(|event| stream.wait(event))?;
        let begun = self.timed(stream)?;
        match (&self.masters.host, self.masters.peers.get(&home)) {
            (Some(host), None) => {
                let Some(source) = held(&host.pieces).and_then(|range| host.memory.bytes().get(range)) else { return Ok(None) };
                // SAFETY: the piece is as long as its place; both stay until this is dropped, after its streams have ended, and
                // nobody uses the place before the event below has been.
                unsafe { stream.upload(begin, source.as_ptr(), length.min(source.len())) }?;
            }
            (_, Some(peer)) => {
                let Some(piece) = held(&peer.pieces) else { return Ok(None) };
                let source = peer.memory.data_ptr().addr() as u64 + piece.start as u64;
                // SAFETY: as above; the peer's memory is kept by its tensor.
                unsafe { stream.copy_from(&peer.context, source, begin, length.min(piece.len())) }?;
            }
            (None, None) => return Ok(None),
        }
        let there = self.timed(stream)?;
        self.timing.copy(Subject::Device(home), Bytes(length as u64), begun, Arc::clone(&there));
        Ok(Some(Way::Copy(there)))
    }

    /// Has it brought through chunks.
    fn bring(&self, block: BlockIndex, home: DeviceId, place: &Range<usize>, after: Vec<Arc<Event>>) -> Option<Way> {
        let (chunks, target) = (self.chunks.as_ref()?, self.address(place.start));
        let after: Arc<[Arc<Event>]> = after.into();
        let coming = if let (DeviceId::Cpu, Some(host)) = (home, &self.masters.host) {
            chunks.bring_from_memory(host.memory.bytes().get(host.pieces.of(block)?)?, target, &after)
        } else {
            let (of_table, layout) = self.layout(block)?;
            chunks.bring_from_files(of_table, layout, target, &after)
        };
        Some(Way::Chunks(coming))
    }
}

impl Mover for CudaMover {
    type Error = LoadError;

    fn begin(&mut self, block: BlockIndex, place: Place, _free: usize) -> Result<(), LoadError> {
        let (size, home) = (self.layout(block).map_or(0, |(_, layout)| layout.size), self.homes.get(&block).copied());
        let (place, home) = (place.0..place.0 + size, home.unwrap_or(DeviceId::Disk));
        let after = self.left.take(&place);
        let way = match self.copy(block, home, &place, &after)? {
            Some(way) => Some(way),
            None => self.bring(block, home, &place, after),
        };
        self.blocks.insert(block, Whereabouts { place, way });
        Ok(())
    }

    fn arrive(&mut self, block: BlockIndex) -> Result<(), LoadError> {
        let Some(here) = self.blocks.get_mut(&block) else { return Ok(()) };
        let (place, way) = (here.place.clone(), here.way.take());
        let Some(way) = way else { return Ok(()) };
        let (mut came, waiting) = match way {
            Way::Copy(there) => (vec![there], None),
            Way::Chunks(coming) => {
                // The processor waits here, and computing with it.
                let before = self.timed(&self.computing)?;
                (coming.wait().inspect_err(|_| tch::Cuda::synchronize(index_of(&self.ring)))?, Some(before))
            }
        };
        came.retain(|there| !there.has_been());
        let before = match waiting {
            Some(before) => before,
            None if came.is_empty() => return Ok(()),
            None => self.timed(&self.computing)?,
        };
        came.iter().try_for_each(|there| self.computing.wait(there))?;
        let after = self.timed(&self.computing)?;
        self.timing.wait(before, Arc::clone(&after));
        // A block that is never computed with still was on its way until now.
        self.left.push(place, after);
        Ok(())
    }

    fn leave(&mut self, block: BlockIndex, stays: bool) {
        let Some(here) = self.blocks.get(&block) else { return };
        let place = here.place.clone();
        let spoilt = if stays || !poison::is_asked_for() {
            Ok(())
        } else {
            // SAFETY: a part of the ring, in use by what was put on this stream before, and by others only behind the event below.
            unsafe { self.computing.fill(self.address(place.start), poison::BYTE, place.len()) }
        };
        let ordered = || Event::ordering(&self.context).and_then(|event| self.computing.record(&event).map(|()| Arc::new(event)));
        let left = spoilt.and_then(|()| ordered());
        match left {
            Ok(event) => self.left.push(place, event),
            Err(error) => {
                tracing::warn!("{error}");
                tch::Cuda::synchronize(index_of(&self.ring));
            }
        }
    }
}

impl Carrier for CudaMover {
    fn weights(&self, block: BlockIndex) -> Vec<*const u8> {
        let (Some((_, layout)), Some(here)) = (self.layout(block), self.blocks.get(&block)) else { return Vec::new() };
        let begin = self.ring.data_ptr().cast_const().cast::<u8>();
        layout.offsets.iter().map(|offset| begin.wrapping_add(here.place.start + offset)).collect()
    }

    fn memory(&self) -> Bytes {
        Bytes(self.size as u64)
    }

    fn held(&self) -> Vec<Share> {
        self.masters.held()
    }

    fn take_traffic(&mut self) -> Traffic {
        let mut traffic = self.timing.take();
        if let Some(chunks) = &self.chunks {
            for (link, flow) in lock(chunks.meters()).take() {
                let sum = traffic.flows.entry(link).or_default();
                sum.bytes += flow.bytes;
                sum.busy += flow.busy;
            }
        }
        traffic
    }
}

impl Drop for CudaMover {
    fn drop(&mut self) {
        // Ends the threads; then nothing new is put on any stream, and what is there is waited for before memory goes.
        self.chunks = None;
        tch::Cuda::synchronize(index_of(&self.ring));
    }
}

fn index_of(tensor: &Tensor) -> i64 {
    match tensor.device() {
        tch::Device::Cuda(index) => i64::try_from(index).unwrap_or(0),
        tch::Device::Cpu | tch::Device::Mps | tch::Device::Vulkan => 0,
    }
}

/// Parts of the ring, each with the event from which on it is free. They do not overlap.
#[derive(Debug)]
struct Left<E = Arc<Event>>(Vec<(Range<usize>, E)>);

impl<E> Default for Left<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E: Clone> Left<E> {
    /// Returns what must have been before this part may be written to, and forgets it.
    fn take(&mut self, part: &Range<usize>) -> Vec<E> {
        let mut events = Vec::new();
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for (other, event) in self.0.drain(..) {
            if other.start < part.end && part.start < other.end {
                events.push(event.clone());
            }
            let before = other.start..other.end.min(part.start);
            let behind = other.start.max(part.end)..other.end;
            rest.extend([before, behind].into_iter().filter(|r| !r.is_empty()).map(|r| (r, event.clone())));
        }
        self.0 = rest;
        events
    }

    /// Notes from when on a part is free. What was noted of it before was sooner.
    fn push(&mut self, part: Range<usize>, event: E) {
        drop(self.take(&part));
        self.0.push((part, event));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Byte by byte, a part waits for exactly the last that left each of its bytes.
        #[test]
        fn a_part_waits_for_who_left_it_last(moves in prop::collection::vec((0usize..60, 1usize..20, any::<bool>()), 1..60)) {
            let (mut left, mut bytes) = (Left::<usize>::default(), vec![None; 80]);
            for (event, (start, length, is_push)) in moves.into_iter().enumerate() {
                let part = start..start + length;
                if is_push {
                    left.push(part.clone(), event);
                    bytes[part].fill(Some(event));
                } else {
                    let mut expected: Vec<usize> = bytes[part.clone()].iter().flatten().copied().collect();
                    expected.sort_unstable();
                    expected.dedup();
                    bytes[part.clone()].fill(None);
                    let mut found = left.take(&part);
                    found.sort_unstable();
                    found.dedup();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
