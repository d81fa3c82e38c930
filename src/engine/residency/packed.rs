//! A block as one piece of memory: each weight as it is stored, aligned as devices want it.

use crate::weights::Block;

/// What every weight is aligned to: as libtorch aligns on the processor and more, so that a device's libraries choose the
/// same kernels for a streamed weight as for one that lives there.
pub const ALIGNMENT: usize = 256;

/// Where a block's weights lie in its piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// Where each weight begins, in the order of the block's parameters.
    pub offsets: Vec<usize>,
    /// How large the piece is; a multiple of the alignment.
    pub size: usize,
}

impl Packed {
    /// Lays out a block.
    #[must_use]
    pub fn of(block: &Block) -> Self {
        let mut packed = Self::default();
        for param in &block.params {
            packed.offsets.push(packed.size);
            packed.size += (param.entry.bytes().get() as usize).next_multiple_of(ALIGNMENT);
        }
        packed
    }
}
