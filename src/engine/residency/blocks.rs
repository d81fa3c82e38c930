//! A component's blocks, all resident on the compute device.

use std::cell::Cell;

use tch::{Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::cancel::CancelFlag;
use crate::engine::loading::Vault;
use crate::engine::loading::assemble::Target;
use crate::engine::nn::WeightRef;
use crate::families::Role;
use crate::placement::{OffloadPlan, Share};
use crate::units::{BlockIndex, Bytes};
use crate::weights::{Block, BlockTable};

/// The blocks of one component.
#[derive(Debug)]
pub struct Residency {
    role: Role,
    table: BlockTable,
    plan: OffloadPlan,
    blocks: Vec<Vec<Tensor>>,
    bytes: Vec<Bytes>,
    cancel: CancelFlag,
    current: Cell<BlockIndex>,
    watching: Cell<bool>,
}

/// A block's weights on the compute device, on loan.
#[derive(Debug)]
pub struct Held<'a> {
    block: BlockIndex,
    weights: &'a [Tensor],
}

impl Held<'_> {
    /// Returns a weight of this block.
    ///
    /// # Panics
    /// When the weight belongs to another block: a mistake in a model, not in a file.
    pub fn tensor(&self, at: WeightRef) -> &Tensor {
        assert_eq!(at.0.block, self.block, "a weight was asked of the wrong block");
        &self.weights[at.0.param]
    }

    /// Returns a weight as a matrix; 1 × 1 convolutions are stored with two more extents of one.
    pub fn matrix(&self, at: WeightRef) -> Tensor {
        let tensor = self.tensor(at);
        match tensor.size()[..] {
            [rows, columns, ..] => tensor.view([rows, columns]),
            _ => tensor.shallow_clone(),
        }
    }
}

impl Residency {
    /// Copies every block to the compute device, once, in the asked precision.
    pub fn load(role: Role, table: BlockTable, vault: &Vault, target: Target<'_>) -> Result<Self, EngineError> {
        let Target { compute, precision, cancel } = target;
        let plan = OffloadPlan::all_resident(compute.id, &table);
        let mut blocks = Vec::with_capacity(table.blocks().len());
        let mut bytes = Vec::with_capacity(table.blocks().len());
        for (index, block) in (0..).zip(table.blocks()) {
            cancel.check()?;
            let place = || place_of(role, BlockIndex(index), block);
            let weights = vault.load_block(block, compute, precision).map_err(|e| EngineError::torch(&e, compute.id, &place()))?;
            bytes.push(weights.iter().map(size_of_tensor).sum());
            blocks.push(weights);
        }
        Ok(Self { role, table, plan, blocks, bytes, cancel: cancel.clone(), current: Cell::new(BlockIndex(0)), watching: Cell::new(false) })
    }

    /// Lends a block. An error where the run was taken back: this is where a run can stop.
    pub fn acquire(&self, block: BlockIndex) -> Result<Held<'_>, EngineError> {
        self.cancel.check()?;
        self.current.set(block);
        Ok(Held { block, weights: &self.blocks[block.0 as usize] })
    }

    /// Lends the head block, which never leaves the compute device.
    pub fn head(&self) -> Result<Held<'_>, EngineError> {
        self.acquire(BlockIndex(0))
    }

    /// Says whether blocks' outputs are looked at, to find the first that is not finite.
    pub fn watch(&self, watching: bool) {
        self.watching.set(watching);
    }

    /// Looks at the output of the block in use, while [`watch`](Self::watch)ing.
    pub fn look_at(&self, output: &Tensor) -> Result<(), EngineError> {
        if self.watching.get() && output.isfinite().all().int64_value(&[]) == 0 {
            return Err(EngineError::NotFinite { place: self.place(), step: 0 });
        }
        Ok(())
    }

    /// Listens to the flags of another run.
    pub fn serve(&mut self, cancel: &CancelFlag) {
        self.cancel = cancel.clone();
    }

    /// Returns the table of blocks.
    #[must_use]
    pub fn table(&self) -> &BlockTable {
        &self.table
    }

    /// Returns the block in use, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let block = self.current.get();
        self.table.block(block).map_or_else(|| self.role.name().to_owned(), |b| place_of(self.role, block, b))
    }

    /// Returns the bytes that the plan puts on each device.
    #[must_use]
    pub fn asked(&self) -> Vec<Share> {
        self.plan.shares(&self.bytes)
    }

    /// Returns the bytes that weights take on each device now, counted from the tensors themselves.
    #[must_use]
    pub fn measured(&self) -> Vec<Share> {
        let bytes = self.blocks.iter().flatten().map(size_of_tensor).sum();
        vec![Share { device: self.plan.compute, bytes }]
    }
}

fn place_of(role: Role, index: BlockIndex, block: &Block) -> String {
    format!("{role} block {index} (`{}`)", block.name)
}

fn size_of_tensor(tensor: &Tensor) -> Bytes {
    Bytes(tensor.numel() as u64 * element_size(tensor.kind()))
}

fn element_size(kind: Kind) -> u64 {
    kind.elt_size_in_bytes() as u64
}
