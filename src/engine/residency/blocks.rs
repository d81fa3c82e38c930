//! A component's blocks, all resident on the compute device.

use std::cell::Cell;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::cancel::CancelFlag;
use crate::engine::loading::assemble::Target;
use crate::engine::loading::{LoadError, Vault, Weights};
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
    blocks: Vec<Option<Weights>>,
    bytes: Vec<Bytes>,
    vault: Arc<Vault>,
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
    /// Brings blocks to the compute device, once, in the asked precision: all but those named in `later`.
    pub fn load(role: Role, table: BlockTable, vault: &Arc<Vault>, target: Target<'_>, later: &[&str]) -> Result<Self, EngineError> {
        let plan = OffloadPlan::all_resident(target.compute.id, &table);
        let count = table.blocks().len();
        let mut residency = Self {
            role,
            plan,
            table,
            blocks: (0..count).map(|_| None).collect(),
            bytes: vec![Bytes::ZERO; count],
            vault: Arc::clone(vault),
            cancel: target.cancel.clone(),
            current: Cell::new(BlockIndex(0)),
            watching: Cell::new(false),
        };
        residency.bring(target, later)?;
        Ok(residency)
    }

    /// Brings the blocks that were left for later.
    pub fn complete(&mut self, target: Target<'_>) -> Result<(), EngineError> {
        self.bring(target, &[])
    }

    fn bring(&mut self, target: Target<'_>, later: &[&str]) -> Result<(), EngineError> {
        let Target { compute, precision, cancel } = target;
        let slots = self.blocks.iter_mut().zip(&mut self.bytes);
        for (index, (block, (slot, bytes))) in (0..).zip(self.table.blocks().iter().zip(slots)) {
            if slot.is_some() || later.contains(&block.name.as_str()) {
                continue;
            }
            cancel.check()?;
            let weights = self.vault.load_block(block, compute, precision).map_err(|error| match error {
                LoadError::File(error) => EngineError::Library(error),
                LoadError::Torch(error) => EngineError::torch(&error, compute.id, &place_of(self.role, BlockIndex(index), block)),
            })?;
            *bytes = weights.tensors().iter().map(size_of_tensor).sum();
            *slot = Some(weights);
        }
        Ok(())
    }

    /// Lends a block. An error where the run was taken back: this is where a run can stop.
    ///
    /// # Panics
    /// When the block was left for later and never brought: a mistake in a pipeline, not in a file.
    pub fn acquire(&self, block: BlockIndex) -> Result<Held<'_>, EngineError> {
        self.cancel.check()?;
        self.current.set(block);
        let weights = self.blocks[block.0 as usize].as_ref();
        assert!(weights.is_some(), "{} is not loaded", self.place());
        Ok(Held { block, weights: weights.map_or(&[], Weights::tensors) })
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
        let bytes = self.loaded().flat_map(Weights::tensors).map(size_of_tensor).sum();
        vec![Share { device: self.plan.compute, bytes }]
    }

    fn loaded(&self) -> impl Iterator<Item = &Weights> {
        self.blocks.iter().flatten()
    }

    /// Returns how much of the weights lies in the page cache and not in memory of this process.
    #[must_use]
    pub fn in_map(&self) -> Bytes {
        self.loaded().map(Weights::in_map).sum()
    }

    /// Fails where somebody wrote into a file whose bytes are computed with: the results are not of one model.
    pub fn check_files(&self) -> Result<(), EngineError> {
        match self.loaded().find_map(Weights::written_into) {
            Some(file) => Err(EngineError::Changed { path: file.path().to_owned() }),
            None => Ok(()),
        }
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
