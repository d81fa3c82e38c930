//! Streamed blocks: brought through staging memory while others compute, and lent as tensors over their place there.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use super::Traffic;
use super::carrier::Carrier;
use super::cuda::CudaMover;
use super::disk::DiskMover;
use super::layout::{Layout, PAGE};
use super::packed::{self, Packed};
use super::simulated::SimMover;
use super::views::Views;
use crate::engine::device::{Compute, kind};
use crate::engine::loading::vault::{size_as, stored, wanted};
use crate::engine::loading::{LoadError, Vault};
use crate::engine::simulated::Granted;
use crate::placement::stream::{Stream, Streamed};
use crate::placement::{OffloadPlan, Share};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable, Precision, TensorEntry};

/// The streamed blocks of a component, and the memory of the compute device that they pass through: a ring for weights as
/// they are stored, and one scratch for the block in use where it is computed with in another precision.
#[derive(Debug)]
pub struct Staging {
    stream: Stream,
    // Dropped before the memory that they are views of.
    views: Views,
    carrier: Box<dyn Carrier>,
    _granted: Option<Granted>,
}

/// What is to be streamed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The component's blocks.
    pub table: &'a BlockTable,
    /// Where they live.
    pub plan: &'a OffloadPlan,
    /// Their files.
    pub vault: &'a Arc<Vault>,
    /// What they are computed with in.
    pub precision: Precision,
    /// The ring, as weights are stored; where it is too small for the largest block, it will be as large as that.
    pub ring: Bytes,
}

impl Staging {
    /// Takes all the memory that streaming these blocks will need.
    pub fn new(wanted: Wanted<'_>, compute: &Compute) -> Result<Self, LoadError> {
        let Wanted { table, plan, vault, precision, ring } = wanted;
        let streamed: Vec<(BlockIndex, &Block)> = plan.streamed().into_iter().filter_map(|n| Some((n, table.block(n)?))).collect();
        let is_aligned = compute.device != Device::Cpu || compute.simulated.is_some();
        let scratch =
            streamed.iter().map(|(_, block)| expanded(block, precision, is_aligned)).try_fold(0, |most, one| one.map(|n| n.max(most)))?;
        let order = |sizes: &dyn Fn(BlockIndex) -> usize| {
            let order: Vec<Streamed> = streamed.iter().map(|(n, _)| Streamed { block: *n, size: sizes(*n) }).collect();
            let size = ring_size(ring, &order);
            (order, size)
        };
        let granted = match &compute.simulated {
            Some(simulated) if scratch > 0 => simulated.take_here(Bytes(scratch as u64))?,
            Some(_) | None => None,
        };
        let (order, size, carrier): (_, _, Box<dyn Carrier>) = match (compute.device, &compute.simulated) {
            (_, Some(simulated)) => {
                let layouts = laid_out(table, &streamed, Packed::of);
                let (order, size) = order(&|n| size_of(&layouts, n, |l| l.size));
                (order, size, Box::new(SimMover::new(wanted, layouts, size, simulated)?))
            }
            (Device::Cpu, None) => {
                if let Some((_, from)) = homes(plan).find(|(_, home)| *home != DeviceId::Disk) {
                    return Err(LoadError::NoWay { from, to: compute.id });
                }
                let layouts = laid_out(table, &streamed, Layout::of);
                let (order, size) = order(&|n| size_of(&layouts, n, |l| l.size));
                (order, size, Box::new(DiskMover::new(vault, layouts, size)?))
            }
            (Device::Cuda(_), None) => {
                let layouts = laid_out(table, &streamed, Packed::of);
                let (order, size) = order(&|n| size_of(&layouts, n, |l| l.size));
                (order, size, Box::new(CudaMover::new(wanted, layouts, size, compute)?))
            }
            (Device::Mps | Device::Vulkan, None) => return Err(LoadError::NoWay { from: DeviceId::Disk, to: compute.id }),
        };
        let room = |size: usize| Tensor::f_empty([i64::try_from(size).unwrap_or(i64::MAX)], (Kind::Uint8, compute.device));
        let scratch = if scratch == 0 { None } else { Some(room(scratch)?) };
        Ok(Self { stream: Stream::new(order, size), carrier, views: Views::new(precision, compute.device, scratch), _granted: granted })
    }

    /// Returns the weights of a streamed block, in the order of its parameters, for work that is given to the device from
    /// now on. What was lent before must not be used any more.
    pub fn lend(&mut self, index: BlockIndex, block: &Block) -> Result<Rc<[Tensor]>, LoadError> {
        // Layers that share a block ask for it one after the other.
        if self.stream.current() == Some(index)
            && let Some(weights) = self.views.lent(index)
        {
            return Ok(weights);
        }
        let _place = self.stream.acquire(index, self.carrier.as_mut())?;
        self.views.lend(index, block, self.carrier.weights(index))
    }

    /// Hears that computing goes on with a block that is resident.
    pub fn move_on(&mut self) -> Result<(), LoadError> {
        self.stream.move_on(self.carrier.as_mut())
    }

    /// Returns the memory that streaming takes on the compute device.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        self.carrier.memory() + Bytes(self.views.scratch())
    }

    /// Returns what streaming has done since this was last asked.
    pub fn take_traffic(&mut self) -> Traffic {
        self.carrier.take_traffic()
    }

    /// Returns what each donor holds of the streamed blocks.
    #[must_use]
    pub fn held(&self) -> Vec<Share> {
        self.carrier.held()
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
fn expanded(block: &Block, precision: Precision, is_aligned: bool) -> Result<usize, TchError> {
    let computed = kind(precision);
    let one = |entry: &TensorEntry| {
        let wanted = wanted(entry, computed);
        // On the processor, an address in the ring is as far behind a page's begin as the byte in its file.
        let is_aligned = is_aligned || entry.start.is_multiple_of(wanted.elt_size_in_bytes() as u64);
        let is_as_wanted = stored(entry)? == wanted && is_aligned;
        Ok(if is_as_wanted { 0 } else { size_as(entry, wanted).next_multiple_of(packed::ALIGNMENT) })
    };
    block.params.iter().map(|p| one(&p.entry)).sum()
}

/// Returns a layout for each block that is streamed, by its place in the table.
fn laid_out<L: Clone>(table: &BlockTable, streamed: &[(BlockIndex, &Block)], of: impl Fn(&Block) -> L) -> Vec<Option<L>> {
    let mut layouts = vec![None; table.blocks().len()];
    for (index, block) in streamed {
        if let Some(layout) = layouts.get_mut(index.0 as usize) {
            *layout = Some(of(block));
        }
    }
    layouts
}

fn size_of<L>(layouts: &[Option<L>], index: BlockIndex, size: impl Fn(&L) -> usize) -> usize {
    layouts.get(index.0 as usize).and_then(Option::as_ref).map_or(0, size)
}

/// Returns the streamed blocks with the devices that hold them.
pub fn homes(plan: &OffloadPlan) -> impl Iterator<Item = (BlockIndex, DeviceId)> {
    plan.streamed().into_iter().map(|index| (index, plan.home(index)))
}
