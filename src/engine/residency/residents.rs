//! Blocks that live on the compute device, brought once.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::device::{Compute, kind};
use crate::engine::loading::{LoadError, Vault, Weights};
use crate::units::{BlockIndex, Bytes};
use crate::weights::{Block, BlockTable, Precision};

/// The blocks of a component that are on its compute device, or will be when they are asked for.
#[derive(Debug)]
pub struct Residents {
    blocks: Vec<OnceCell<Resident>>,
    vault: Arc<Vault>,
    compute: Compute,
    precision: Precision,
    bringing: Cell<Duration>,
}

/// A block, or room for it.
#[derive(Debug)]
struct Resident {
    weights: Weights,
    is_here: Cell<bool>,
}

impl Residents {
    /// Returns a place for each block; nothing is brought yet.
    #[must_use]
    pub fn new(table: &BlockTable, vault: &Arc<Vault>, compute: &Compute, precision: Precision) -> Self {
        let blocks = table.blocks().iter().map(|_| OnceCell::new()).collect();
        Self { blocks, vault: Arc::clone(vault), compute: compute.clone(), precision, bringing: Cell::new(Duration::ZERO) }
    }

    /// Makes room for a block, once. What is small and stays is best taken before computing takes and leaves what is large.
    ///
    /// # Panics
    /// When there is no such block: a mistake in a model, not in a file. The same holds for [`bring`](Self::bring).
    pub fn make_room(&self, index: BlockIndex, block: &Block) -> Result<(), LoadError> {
        self.room(index, block).map(|_| ())
    }

    fn room(&self, index: BlockIndex, block: &Block) -> Result<&Resident, LoadError> {
        let place = &self.blocks[index.0 as usize];
        if let Some(resident) = place.get() {
            return Ok(resident);
        }
        let weights = self.vault.make_room(block, &self.compute, self.precision)?;
        Ok(place.get_or_init(|| Resident { weights, is_here: Cell::new(false) }))
    }

    /// Returns a block, after bringing it here where it is not.
    pub fn bring(&self, index: BlockIndex, block: &Block) -> Result<&Weights, LoadError> {
        let resident = self.room(index, block)?;
        if !resident.is_here.get() {
            let began = Instant::now();
            resident.weights.fill(block)?;
            self.compute.synchronize();
            resident.is_here.set(true);
            self.bringing.set(self.bringing.get() + began.elapsed());
        }
        Ok(&resident.weights)
    }

    /// Returns whether a block is here.
    #[must_use]
    pub fn has(&self, index: BlockIndex) -> bool {
        self.blocks.get(index.0 as usize).and_then(OnceCell::get).is_some_and(|r| r.is_here.get())
    }

    /// Returns the blocks that are here.
    pub fn iter(&self) -> impl Iterator<Item = &Weights> {
        self.blocks.iter().filter_map(OnceCell::get).filter(|r| r.is_here.get()).map(|r| &r.weights)
    }

    /// Returns the bytes of a block once it is here.
    #[must_use]
    pub fn size_of(&self, block: &Block) -> Bytes {
        Bytes(block.elements() * kind(self.precision).elt_size_in_bytes() as u64)
    }

    /// Returns how long blocks have been brought since this was last asked.
    #[must_use]
    pub fn take_bringing(&self) -> Duration {
        self.bringing.take()
    }
}
