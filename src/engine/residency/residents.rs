//! Blocks that live on the compute device: each is brought once, and may be let go between two steps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::Tensor;

use crate::engine::device::Compute;
use crate::engine::loading::{LoadError, Vault, Weights};
use crate::units::{BlockIndex, Bytes};
use crate::weights::{Block, BlockTable, Precision};

/// The blocks of a component that are on its compute device, or will be when they are asked for.
#[derive(Debug)]
pub struct Residents {
    blocks: RefCell<Vec<Option<Rc<Resident>>>>,
    vault: Arc<Vault>,
    compute: Compute,
    precision: Precision,
    bringing: Cell<Duration>,
}

/// A block, or room for it.
#[derive(Debug)]
pub struct Resident {
    weights: Weights,
    is_here: Cell<bool>,
}

impl Resident {
    /// Returns its weights.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns the bytes of its tensors.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.weights.tensors().iter().map(size_of_tensor).sum()
    }

    /// Returns what is free again once it is let go: what lies in the page cache is not its own.
    #[must_use]
    pub fn own(&self) -> Bytes {
        self.bytes().saturating_sub(self.weights.in_map())
    }
}

fn size_of_tensor(tensor: &Tensor) -> Bytes {
    Bytes((tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64)
}

impl Residents {
    /// Returns a place for each block; nothing is brought yet.
    #[must_use]
    pub fn new(table: &BlockTable, vault: &Arc<Vault>, compute: &Compute, precision: Precision) -> Self {
        let blocks = table.blocks().iter().map(|_| None).collect();
        Self {
            blocks: RefCell::new(blocks),
            vault: Arc::clone(vault),
            compute: compute.clone(),
            precision,
            bringing: Cell::new(Duration::ZERO),
        }
    }

    /// Makes room for a block, once. What is small and stays is best taken before computing takes and leaves what is large.
    ///
    /// # Panics
    /// When there is no such block: a mistake in a model, not in a file. The same holds for [`bring`](Self::bring).
    pub fn make_room(&self, index: BlockIndex, block: &Block) -> Result<(), LoadError> {
        self.room(index, block).map(|_| ())
    }

    fn room(&self, index: BlockIndex, block: &Block) -> Result<Rc<Resident>, LoadError> {
        let place = index.0 as usize;
        if let Some(resident) = &self.blocks.borrow()[place] {
            return Ok(Rc::clone(resident));
        }
        let weights = self.vault.make_room(block, &self.compute, self.precision)?;
        let resident = Rc::new(Resident { weights, is_here: Cell::new(false) });
        self.blocks.borrow_mut()[place] = Some(Rc::clone(&resident));
        Ok(resident)
    }

    /// Returns a block, after bringing it here where it is not.
    pub fn bring(&self, index: BlockIndex, block: &Block) -> Result<Rc<Resident>, LoadError> {
        let resident = self.room(index, block)?;
        if !resident.is_here.get() {
            let began = Instant::now();
            resident.weights.fill(block)?;
            self.compute.synchronize();
            resident.is_here.set(true);
            self.bringing.set(self.bringing.get() + began.elapsed());
        }
        Ok(resident)
    }

    /// Lets a block go: its memory is free again once nobody computes with it. Weights are only read, so nothing is lost.
    pub fn let_go(&self, index: BlockIndex) {
        if let Some(place) = self.blocks.borrow_mut().get_mut(index.0 as usize) {
            *place = None;
        }
    }

    /// Returns a block where it is here.
    #[must_use]
    pub fn get(&self, index: BlockIndex) -> Option<Rc<Resident>> {
        self.blocks.borrow().get(index.0 as usize).cloned().flatten().filter(|r| r.is_here.get())
    }

    /// Returns whether a block is here.
    #[must_use]
    pub fn has(&self, index: BlockIndex) -> bool {
        self.get(index).is_some()
    }

    /// Returns the blocks that are here.
    #[must_use]
    pub fn here(&self) -> Vec<Rc<Resident>> {
        self.blocks.borrow().iter().flatten().filter(|r| r.is_here.get()).cloned().collect()
    }

    /// Returns the bytes of a block once it is here.
    #[must_use]
    pub fn size_of(&self, block: &Block) -> Bytes {
        block.bytes_in(self.precision)
    }

    /// Returns how long blocks have been brought since this was last asked.
    #[must_use]
    pub fn take_bringing(&self) -> Duration {
        self.bringing.take()
    }
}
