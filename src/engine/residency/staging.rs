//! Streamed blocks: brought through staging memory while others compute, and lent as tensors over their place there.

#![expect(unsafe_code, reason = "tensors over staging memory; the note says how long they are valid")]

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use super::disk::{DiskMover, Traffic};
use super::layout::{Layout, PAGE};
use crate::engine::device::kind;
use crate::engine::loading::arena::ALIGNMENT;
use crate::engine::loading::vault::{is_as_wanted, size_as, stored};
use crate::engine::loading::{LoadError, Vault};
use crate::placement::stream::{Stream, Streamed};
use crate::units::{BlockIndex, Bytes};
use crate::weights::{Block, BlockTable, Param, Precision, TensorEntry};

/// The streamed blocks of a component on the processor, and the memory they pass through: a ring for weights as they are
/// stored, and one scratch for the block in use where it is computed with in another precision.
#[derive(Debug)]
pub struct Staging {
    stream: Stream,
    mover: DiskMover,
    scratch: Option<Tensor>,
    precision: Precision,
}

impl Staging {
    /// Takes all the memory that streaming these blocks will need: a ring of `asked` bytes or, where that is too small for
    /// the largest, as much as that needs.
    pub fn new(
        table: &BlockTable,
        streamed: &[BlockIndex],
        vault: &Arc<Vault>,
        precision: Precision,
        asked: Bytes,
    ) -> Result<Self, LoadError> {
        let mut layouts: Vec<Option<Layout>> = vec![None; table.blocks().len()];
        let (mut order, mut scratch) = (Vec::with_capacity(streamed.len()), 0);
        for &index in streamed {
            let Some(block) = table.block(index) else { continue };
            let layout = Layout::of(block);
            order.push(Streamed { block: index, size: layout.size });
            layouts[index.0 as usize] = Some(layout);
            scratch = expanded(block, precision)?.max(scratch);
        }
        let size = ring_size(asked, &order);
        let mover = DiskMover::new(vault, layouts, size)?;
        let room = |size: usize| Tensor::f_empty([i64::try_from(size).unwrap_or(i64::MAX)], (Kind::Uint8, Device::Cpu));
        let scratch = if scratch == 0 { None } else { Some(room(scratch)?) };
        Ok(Self { stream: Stream::new(order, size), mover, scratch, precision })
    }

    /// Returns the weights of a streamed block, in the order of its parameters, after waiting for them. What was lent
    /// before must not be used any more.
    pub fn lend(&mut self, index: BlockIndex, block: &Block) -> Result<Vec<Tensor>, LoadError> {
        let _place = self.stream.acquire(index, &mut self.mover)?;
        let (wanted, mut used) = (kind(self.precision), 0);
        let places = self.mover.weights(index);
        let lend = |(param, place): (&Param, *const u8)| {
            let stored = stored(&param.entry)?;
            // SAFETY: the bytes are in the block's place, as many as shape and type take, which the parser has checked. They stay
            // until the next block is acquired; `Residency` sees to it that no tensor of a block is lent longer.
            let source = unsafe { Tensor::f_from_blob(place, &param.entry.shape.as_i64(), &[], stored, Device::Cpu) }?;
            if is_as_wanted(place, stored, wanted) {
                return Ok(source);
            }
            let size = size_as(&param.entry, wanted);
            let mut target = self.part_of_scratch(used, size, wanted)?.f_view(param.entry.shape.as_i64().as_slice())?;
            used += size.next_multiple_of(ALIGNMENT);
            target.f_copy_(&source)?;
            Ok(target)
        };
        block.params.iter().zip(places).map(lend).collect()
    }

    /// Hears that computing goes on with a block that is resident.
    pub fn move_on(&mut self) -> Result<(), LoadError> {
        Ok(self.stream.move_on(&mut self.mover)?)
    }

    fn part_of_scratch(&self, start: usize, size: usize, kind: Kind) -> Result<Tensor, TchError> {
        let scratch = self.scratch.as_ref().ok_or_else(|| TchError::Kind("there is no scratch to expand weights in".to_owned()))?;
        let (start, size) = (i64::try_from(start).unwrap_or(i64::MAX), i64::try_from(size).unwrap_or(i64::MAX));
        scratch.f_narrow(0, start, size)?.f_view_dtype(kind)
    }

    /// Returns the streamed blocks, in order of execution.
    #[must_use]
    pub fn order(&self) -> Vec<BlockIndex> {
        self.stream.order().collect()
    }

    /// Returns the memory that streaming takes on the compute device.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        let scratch = self.scratch.as_ref().map_or(0, |s| s.numel() as u64);
        self.mover.memory() + Bytes(scratch)
    }

    /// Returns what streaming has done since this was last asked.
    pub fn take_traffic(&mut self) -> Traffic {
        self.mover.take_traffic()
    }
}

/// Returns the size of the ring. Plans count a block's weights; whole pages of its file are a little more, and what was
/// planned to lie beside another block must still do so.
fn ring_size(asked: Bytes, order: &[Streamed]) -> usize {
    const ROUNDING: usize = 256;
    let asked = usize::try_from(asked.get()).unwrap_or(usize::MAX / 2);
    let (largest, all) = (order.iter().map(|s| s.size).max().unwrap_or(0), order.iter().map(|s| s.size).sum());
    (asked + asked / ROUNDING).next_multiple_of(PAGE).clamp(largest, all)
}

/// Returns how much scratch a block needs.
fn expanded(block: &Block, precision: Precision) -> Result<usize, TchError> {
    let wanted = kind(precision);
    let one = |entry: &TensorEntry| {
        // An address in the ring is as far behind a page's begin as the byte in its file.
        let is_aligned = entry.start.is_multiple_of(wanted.elt_size_in_bytes() as u64);
        Ok(if stored(entry)? == wanted && is_aligned { 0 } else { size_as(entry, wanted).next_multiple_of(ALIGNMENT) })
    };
    block.params.iter().map(|p| one(&p.entry)).sum()
}
