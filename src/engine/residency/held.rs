//! A block's weights as a model has them: lent, and expanded where they are stored in fewer bits.

use std::cell::Cell;
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::residents::Resident;
use crate::engine::nn::expand::expand;
use crate::engine::nn::{Weight, WeightRef};
use crate::units::BlockIndex;
use crate::weights::{Block, Coded, TensorEntry};

/// A block's weights on the compute device, on loan.
#[derive(Debug)]
pub struct Held<'a> {
    pub(super) block: BlockIndex,
    pub(super) of_table: Option<&'a Block>,
    pub(super) kind: Kind,
    pub(super) weights: Lent<'a>,
}

/// Where they are.
#[derive(Debug)]
pub(super) enum Lent<'a> {
    /// On the compute device, as long as nobody lets go of them.
    Resident(Rc<Resident>),
    /// Over staging memory, until the next streamed block is asked for.
    Staged { weights: Rc<[Tensor]>, lent: &'a Cell<u32> },
}

impl Held<'_> {
    /// Returns a weight of this block, expanded where it is stored in fewer bits.
    ///
    /// # Panics
    /// When the weight belongs to another block: a mistake in a model, not in a file. What a file holds was checked when it was
    /// read, so that every weight of it can be expanded.
    pub fn tensor(&self, at: WeightRef) -> Weight<'_> {
        let tensors = self.tensors(at);
        let Some((entry, coded)) = self.coded(at) else { return Weight::Plain(&tensors[at.0.param]) };
        let expanded = expand(entry, coded, &tensors[at.0.param..=at.0.param + coded.beside.len()], self.kind);
        assert!(expanded.is_ok(), "`{}` cannot be expanded: {:?}", entry.name, expanded.err());
        expanded.map_or_else(|_| Weight::Plain(&tensors[at.0.param]), Weight::Expanded)
    }

    /// Returns the type that a weight is computed with in and how many numbers it has, without expanding it.
    ///
    /// # Panics
    /// As [`tensor`](Self::tensor).
    #[must_use]
    pub fn kind_and_size(&self, at: WeightRef) -> (Kind, usize) {
        let tensor = &self.tensors(at)[at.0.param];
        let coded = self.coded(at).map(|(entry, _)| (self.kind, usize::try_from(entry.elements()).unwrap_or(usize::MAX)));
        coded.unwrap_or_else(|| (tensor.kind(), tensor.numel()))
    }

    fn tensors(&self, at: WeightRef) -> &[Tensor] {
        assert_eq!(at.0.block, self.block, "a weight was asked of the wrong block");
        match &self.weights {
            Lent::Resident(resident) => resident.weights().tensors(),
            Lent::Staged { weights, .. } => weights,
        }
    }

    /// Returns how a weight is stored that is stored in fewer bits.
    fn coded(&self, at: WeightRef) -> Option<(&TensorEntry, &Coded)> {
        let entry = &self.of_table?.params.get(at.0.param)?.entry;
        Some((entry, entry.coded.as_deref()?))
    }

    /// Returns a weight as a matrix; 1 × 1 convolutions are stored with two more extents of one.
    pub fn matrix(&self, at: WeightRef) -> Tensor {
        let tensor = self.tensor(at);
        match tensor.dim() {
            0..=2 => tensor.shallow_clone(),
            _ => tensor.flatten(1, -1),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Lent::Staged { lent, .. } = &self.weights {
            lent.set(lent.get() - 1);
        }
    }
}
