//! A model's weights as blocks in order of execution.
//!
//! The block is the unit of residency: it is placed, moved and counted as a whole. Models hold
//! indices into this table and never a tensor (`ARCHITECTURE.md`, "Weights, blocks, residency").

use std::collections::BTreeMap;

use super::{Catalog, TensorEntry};
use crate::units::{BlockIndex, Bytes};

/// One weight tensor of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name within the component, in its canonical layout.
    pub name: String,
    /// Where its bytes are.
    pub entry: TensorEntry,
}

/// A run of weights that is resident, staged or away as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The common part of its parameters' names.
    pub name: String,
    /// Its weights, in order of their names.
    pub params: Vec<Param>,
    /// Whether it must stay on the compute device: small weights that every pass uses first or last.
    pub pinned: bool,
}

impl Block {
    /// Returns the stored size.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.params.iter().map(|p| p.entry.bytes()).sum()
    }

    /// Returns the number of weights.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.params.iter().fold(0u64, |n, p| n.saturating_add(p.entry.elements()))
    }
}

/// Where a parameter lives: its block, and its place in that block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The block.
    pub block: BlockIndex,
    /// The place within [`Block::params`].
    pub param: usize,
}

/// The blocks of one component, in order of execution; the first is the pinned head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    blocks: Vec<Block>,
    slots: BTreeMap<String, Slot>,
}

impl BlockTable {
    /// Returns the table of `catalog` cut into the head and `units`, prefixes in order of execution.
    ///
    /// A tensor goes to the longest prefix that its name starts with, and to the head where none fits.
    #[must_use]
    pub fn cut(catalog: &Catalog, units: &[String]) -> Self {
        let mut blocks = vec![Block { name: "head".to_owned(), params: Vec::new(), pinned: true }];
        blocks.extend(units.iter().map(|name| Block { name: name.clone(), params: Vec::new(), pinned: false }));
        for entry in catalog.iter() {
            let fits = |unit: &String| entry.name.strip_prefix(unit.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let home = units.iter().enumerate().filter(|(_, u)| fits(u)).max_by_key(|(_, u)| u.len());
            let index = home.map_or(0, |(i, _)| i + 1);
            blocks[index].params.push(Param { name: entry.name.clone(), entry: entry.clone() });
        }
        blocks.retain(|b| b.pinned || !b.params.is_empty());
        let mut slots = BTreeMap::new();
        for (index, block) in (0u32..).zip(&blocks) {
            for (param, p) in block.params.iter().enumerate() {
                slots.insert(p.name.clone(), Slot { block: BlockIndex(index), param });
            }
        }
        Self { blocks, slots }
    }

    /// Returns the blocks in order of execution.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns one block.
    #[must_use]
    pub fn block(&self, index: BlockIndex) -> Option<&Block> {
        self.blocks.get(usize::try_from(index.0).ok()?)
    }

    /// Returns where a parameter lives.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    /// Returns every parameter's name and where it lives.
    pub fn names(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), *slot))
    }

    /// Returns the tensor of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&TensorEntry> {
        let slot = self.slot(name)?;
        Some(&self.block(slot.block)?.params.get(slot.param)?.entry)
    }

    /// Returns the block that holds parameters under `prefix`, if they all lie in one.
    #[must_use]
    pub fn home(&self, prefix: &str) -> Option<BlockIndex> {
        let mut homes = self.slots.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix)).map(|(_, slot)| slot.block);
        let first = homes.next()?;
        homes.all(|b| b == first).then_some(first)
    }

    /// Returns the stored size of all blocks.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.blocks.iter().map(Block::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DType, Shape};

    fn catalog(names: &[&str]) -> Catalog {
        let entries = names.iter().map(|n| TensorEntry {
            name: (*n).to_owned(),
            dtype: DType::F32,
            shape: Shape::from([2]),
            file: 0,
            start: 0,
            end: 8,
        });
        Catalog::new(entries, BTreeMap::new())
    }

    #[test]
    fn the_longest_prefix_takes_the_tensor() {
        let catalog = catalog(&["in.1.0.w", "in.1.1.w", "in.10.0.w", "time.w", "in.1.2.w"]);
        let units = ["in.1.0", "in.1", "in.10"].map(str::to_owned);
        let table = BlockTable::cut(&catalog, &units);
        let names: Vec<_> = table.blocks().iter().map(|b| (b.name.as_str(), b.params.len())).collect();
        assert_eq!(names, [("head", 1), ("in.1.0", 1), ("in.1", 2), ("in.10", 1)]);
        assert_eq!(table.slot("in.10.0.w"), Some(Slot { block: BlockIndex(3), param: 0 }));
        assert_eq!(table.home("in.1.0"), Some(BlockIndex(1)));
        assert_eq!(table.home("in.1"), None, "spread over several blocks");
        assert_eq!(table.bytes(), Bytes(40));
    }

    #[test]
    fn units_without_tensors_leave_no_block() {
        let table = BlockTable::cut(&catalog(&["a.w"]), &["a".to_owned(), "b".to_owned()]);
        assert_eq!(table.blocks().len(), 2);
        assert!(table.blocks()[0].pinned && table.blocks()[0].params.is_empty());
    }
}
