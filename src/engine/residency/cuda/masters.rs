//! What donors hold of the blocks that are streamed to a GPU, as they are stored.

#![expect(unsafe_code, reason = "a tensor over host memory for the length of one copy")]

use std::collections::BTreeMap;
use std::sync::Arc;

use memmap2::MmapMut;
use tch::{Device, Kind, Tensor};

use super::driver::{Context, Pinned};
use crate::engine::error::is_out_of_memory;
use crate::engine::loading::{LoadError, Vault};
use crate::engine::residency::host_donor::{Pieces, fill, take};
use crate::engine::residency::packed::Packed;
use crate::placement::Share;
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::Block;

/// Host memory, pinned where the system allows it.
#[derive(Debug)]
pub(super) enum HostMemory {
    /// Copies from it go on beside the processor.
    Pinned(Pinned),
    /// The system pins no more.
    Pageable(MmapMut),
}

impl HostMemory {
    /// Pins this memory, or says why not.
    pub(super) fn pinned(memory: MmapMut, context: &Arc<Context>) -> Self {
        match Pinned::new(memory, context) {
            Ok(pinned) => Self::Pinned(pinned),
            Err((memory, error)) => {
                tracing::warn!("{} of host memory stay unpinned, and copies from there are slower: {error}", Bytes(memory.len() as u64));
                Self::Pageable(memory)
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Pinned(memory) => memory.bytes(),
            Self::Pageable(memory) => memory,
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pinned(memory) => memory.bytes_mut(),
            Self::Pageable(memory) => memory,
        }
    }
}

/// Blocks in host memory.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) memory: HostMemory,
    pub(super) pieces: Pieces,
}

/// Blocks on another GPU.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) context: Arc<Context>,
    pub(super) memory: Tensor,
    pub(super) pieces: Pieces,
}

/// All donors' blocks.
#[derive(Debug, Default)]
pub(super) struct Masters {
    pub(super) host: Option<Host>,
    pub(super) peers: BTreeMap<DeviceId, Peer>,
    /// Bytes of blocks that stay in their files.
    on_disk: Bytes,
}

/// A block that a donor holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Donated<'a> {
    pub(super) index: BlockIndex,
    pub(super) home: DeviceId,
    pub(super) block: &'a Block,
    pub(super) layout: &'a Packed,
}

impl Masters {
    /// Has every donor hold its blocks.
    pub(super) fn bring(donated: &[Donated<'_>], vault: &Vault, context: &Arc<Context>) -> Result<Self, LoadError> {
        let mut masters = Self::default();
        let mut homes: BTreeMap<DeviceId, Vec<Donated<'_>>> = BTreeMap::new();
        for one in donated {
            homes.entry(one.home).or_default().push(*one);
        }
        for (home, blocks) in homes {
            match home {
                DeviceId::Disk => masters.on_disk = blocks.iter().map(|one| one.block.bytes()).sum(),
                DeviceId::Cpu => masters.host = Some(Host::bring(&blocks, vault, context)?),
                DeviceId::Cuda(index) => drop(masters.peers.insert(home, Peer::bring(index, &blocks, vault, context)?)),
                DeviceId::Amd(_) | DeviceId::Sim(_) => return Err(LoadError::NoWay { from: home, to: DeviceId::Cuda(0) }),
            }
        }
        Ok(masters)
    }

    /// Returns what each donor holds.
    pub(super) fn held(&self) -> Vec<Share> {
        let host = self.host.iter().map(|host| (DeviceId::Cpu, Bytes(host.pieces.size() as u64)));
        let peers = self.peers.iter().map(|(device, peer)| (*device, Bytes(peer.memory.numel() as u64)));
        let disk = (self.on_disk > Bytes::ZERO).then_some((DeviceId::Disk, self.on_disk));
        host.chain(peers).chain(disk).map(|(device, bytes)| Share { device, bytes }).collect()
    }
}

fn pieces(blocks: &[Donated<'_>]) -> Pieces {
    let mut pieces = Pieces::default();
    for one in blocks {
        pieces.push(one.index, one.layout);
    }
    pieces
}

fn read(memory: &mut [u8], pieces: &Pieces, blocks: &[Donated<'_>], vault: &Vault) -> Result<(), LoadError> {
    fill(memory, pieces, |index| blocks.iter().find(|one| one.index == index).map(|one| (one.block, one.layout)), vault)
}

impl Host {
    fn bring(blocks: &[Donated<'_>], vault: &Vault, context: &Arc<Context>) -> Result<Self, LoadError> {
        let pieces = pieces(blocks);
        let mut memory = take(&pieces)?;
        read(&mut memory, &pieces, blocks, vault)?;
        Ok(Self { memory: HostMemory::pinned(memory, context), pieces })
    }
}

impl Peer {
    fn bring(number: u16, blocks: &[Donated<'_>], vault: &Vault, here: &Context) -> Result<Self, LoadError> {
        let index = usize::from(number);
        let context = Context::of(index)?;
        let is_direct = here.reach(&context)?;
        tracing::info!("copies from cuda:{index} come {}", if is_direct { "straight from there" } else { "through the host" });
        let pieces = pieces(blocks);
        let length = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let memory = Tensor::f_empty([length(pieces.size())], (Kind::Uint8, Device::Cuda(index))).map_err(|error| {
            // It is the donor that has too little.
            let bytes = Bytes(pieces.size() as u64);
            if is_out_of_memory(&error) { LoadError::Memory { device: DeviceId::Cuda(number), bytes } } else { error.into() }
        })?;
        for one in blocks {
            let (mut alone, Some(place)) = (Pieces::default(), pieces.of(one.index)) else { continue };
            alone.push(one.index, one.layout);
            let mut bytes = take(&alone)?;
            read(&mut bytes, &alone, std::slice::from_ref(one), vault)?;
            // SAFETY: the bytes live until the copy below has ended, and are not written to.
            let source = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &[length(one.layout.size)], &[], Kind::Uint8, Device::Cpu) }?;
            memory.f_narrow(0, length(place.start), length(place.len()))?.f_copy_(&source)?;
        }
        tch::Cuda::synchronize(i64::try_from(index).unwrap_or(0));
        here.enter()?;
        Ok(Self { context, memory, pieces })
    }
}
