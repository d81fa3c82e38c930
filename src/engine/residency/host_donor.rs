//! Blocks that live in host memory, as they are stored, each in one piece.

use std::collections::BTreeMap;
use std::ops::Range;

use memmap2::MmapMut;

use super::disk::memory;
use super::donor_file::DonorFile;
use super::packed::Packed;
use crate::engine::loading::arena::on_threads;
use crate::engine::loading::{LoadError, Vault};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, TensorEntry};

/// The pieces of some blocks, one behind the other.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    places: BTreeMap<BlockIndex, Range<usize>>,
    size: usize,
}

impl Pieces {
    /// Makes a place for a block behind the others.
    pub fn push(&mut self, block: BlockIndex, layout: &Packed) {
        let end = self.size + layout.size;
        self.places.insert(block, self.size..end);
        self.size = end;
    }

    /// Returns where a block's piece lies.
    #[must_use]
    pub fn of(&self, block: BlockIndex) -> Option<Range<usize>> {
        self.places.get(&block).cloned()
    }

    /// Returns the size of all.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the blocks.
    pub fn blocks(&self) -> impl Iterator<Item = BlockIndex> {
        self.places.keys().copied()
    }
}

/// Takes host memory for these pieces.
pub fn take(pieces: &Pieces) -> Result<MmapMut, LoadError> {
    memory(pieces.size().max(1)).map_err(|_| LoadError::Memory { device: DeviceId::Cpu, bytes: Bytes(pieces.size() as u64) })
}

/// Reads these blocks into their pieces, on several threads. The files are read and not mapped, so that one that has become
/// shorter is an error.
pub fn fill<'a>(
    memory: &mut [u8],
    pieces: &Pieces,
    blocks: impl Fn(BlockIndex) -> Option<(&'a Block, &'a Packed)>,
    vault: &Vault,
) -> Result<(), LoadError> {
    let files = vault.files().iter().map(DonorFile::open).collect::<Result<Vec<_>, _>>()?;
    let size = memory.len();
    let mut parts: Vec<(&TensorEntry, &mut [u8])> = Vec::new();
    let mut rest = memory;
    for (block, layout) in pieces.blocks().filter_map(&blocks) {
        let (mut piece, behind) = rest.split_at_mut(layout.size);
        rest = behind;
        for (n, param) in block.params.iter().enumerate() {
            let end = layout.offsets.get(n + 1).copied().unwrap_or(layout.size) - layout.offsets[n];
            let (part, behind) = piece.split_at_mut(end);
            piece = behind;
            parts.push((&param.entry, &mut part[..param.entry.bytes().get() as usize]));
        }
    }
    on_threads(parts, size, |(entry, part): (&TensorEntry, &mut [u8])| match files.get(entry.file) {
        Some(file) => file.read_exact(entry.start, part).map_err(LoadError::File),
        None => Ok(()),
    })
}
