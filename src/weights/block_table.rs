//! A model's weights as blocks in order of execution.
//!
//! The block is the unit of residency: it is placed, moved and counted as a whole. Models hold
//! indices into this table and never a tensor (`ARCHITECTURE.md`, "Weights, blocks, residency").

use std::collections::{BTreeMap, HashMap};

use super::{Catalog, Code, Precision, TensorEntry};
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

    /// Its weights without what belongs to others, such as scales.
    fn weights(&self) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(|p| p.entry.coded.as_ref().is_none_or(|c| c.code != Code::Part))
    }

    /// Returns the number of weights; what belongs to others, such as scales, is none.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.weights().fold(0u64, |n, p| n.saturating_add(p.entry.elements()))
    }

    /// Returns how many matrices and kernels there are: so many products are computed.
    #[must_use]
    pub fn products(&self) -> u64 {
        self.weights().filter(|p| p.entry.shape.rank() >= 2).count() as u64
    }

    /// Returns the size that it has on a device that computes in this precision.
    #[must_use]
    pub fn bytes_in(&self, precision: Precision) -> Bytes {
        self.params.iter().map(|p| p.entry.bytes_in(precision)).sum()
    }

    /// Returns the size of what of it is turned into this precision before a device computes with it.
    #[must_use]
    pub fn expanded_in(&self, precision: Precision) -> Bytes {
        let is_turned = |entry: &TensorEntry| entry.coded.is_none() && Precision::of(entry.dtype) != Some(precision);
        self.params.iter().map(|p| &p.entry).filter(|entry| is_turned(entry)).map(|entry| entry.bytes_in(precision)).sum()
    }
}

/// What a block is made of: everything under some prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is called in messages and on screens.
    pub name: String,
    /// Prefixes of its parameters' names.
    pub prefixes: Vec<String>,
}

impl Unit {
    /// Returns the unit of everything under `name`.
    #[must_use]
    pub fn all_of(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { prefixes: vec![name.clone()], name }
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
    /// In order of their parameters' names.
    slots: Vec<Slot>,
    gathered: BTreeMap<String, TensorEntry>,
}

impl BlockTable {
    /// Returns the table of `catalog` cut into the head and `units`, in order of execution.
    ///
    /// A tensor goes to the unit with the longest prefix that its name starts with, and to the head where none fits.
    /// Neighbours are joined where one of them is smaller than `worth_a_copy`, to no more than four times that.
    #[must_use]
    pub fn cut(catalog: &Catalog, units: &[Unit], worth_a_copy: Bytes) -> Self {
        let mut head = Block { name: "head".to_owned(), params: Vec::new(), pinned: true };
        let mut cut: Vec<Block> = units.iter().map(|unit| Block { name: unit.name.clone(), params: Vec::new(), pinned: false }).collect();
        // Of units with the same prefix the last counts.
        let homes = units.iter().enumerate().flat_map(|(i, unit)| unit.prefixes.iter().map(move |prefix| (prefix.as_str(), i)));
        let homes: HashMap<&str, usize> = homes.collect();
        for entry in catalog.iter() {
            let home = entry.name.rmatch_indices('.').find_map(|(end, _)| homes.get(&entry.name[..end]));
            let block = home.and_then(|i| cut.get_mut(*i)).unwrap_or(&mut head);
            block.params.push(Param { name: entry.name.clone(), entry: entry.clone() });
            // What belongs to a weight lies behind it, and travels with it.
            let parts = entry.coded.iter().flat_map(|coded| &coded.beside);
            block.params.extend(parts.map(|part| Param { name: part.name.clone(), entry: part.clone() }));
        }
        cut.retain(|b| !b.params.is_empty());
        let mut blocks = vec![head];
        blocks.extend(joined(cut, worth_a_copy));
        let of_block = |(index, block): (u32, &Block)| (0..block.params.len()).map(move |param| Slot { block: BlockIndex(index), param });
        let mut slots: Vec<Slot> = (0u32..).zip(&blocks).flat_map(of_block).collect();
        slots.sort_by(|a, b| name_at(&blocks, *a).cmp(name_at(&blocks, *b)));
        Self { blocks, slots, gathered: BTreeMap::new() }
    }

    /// Returns the same table with tensors that lie in no block, because rows of them are looked up and nothing is multiplied
    /// with them: they stay in their file, wherever the blocks are.
    #[must_use]
    pub fn with_gathered(mut self, tensors: impl IntoIterator<Item = TensorEntry>) -> Self {
        self.gathered = tensors.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        self
    }

    /// Returns a tensor of which rows are looked up.
    #[must_use]
    pub fn gathered(&self, name: &str) -> Option<&TensorEntry> {
        self.gathered.get(name)
    }

    /// Returns every stored tensor with its name, what is in no block and what belongs to another included.
    #[must_use]
    pub fn stored(&self) -> Vec<(&str, &TensorEntry)> {
        let in_blocks = self.blocks.iter().flat_map(|block| &block.params).map(|p| (p.name.as_str(), &p.entry));
        let looked_up = self.gathered.values();
        let beside = looked_up.clone().flat_map(|entry| entry.coded.iter().flat_map(|coded| &coded.beside));
        in_blocks.chain(looked_up.chain(beside).map(|entry| (entry.name.as_str(), entry))).collect()
    }

    /// Returns the stored size of everything, what is in no block included.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        self.bytes() + self.gathered.values().map(TensorEntry::bytes_with_parts).sum()
    }

    /// Returns the number of stored tensors, what is in no block included.
    #[must_use]
    pub fn tensors(&self) -> usize {
        let beside = |entry: &TensorEntry| entry.coded.as_ref().map_or(0, |coded| coded.beside.len());
        let gathered: usize = self.gathered.values().map(|entry| 1 + beside(entry)).sum();
        gathered + self.blocks.iter().map(|b| b.params.len()).sum::<usize>()
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
        let place = self.slots.binary_search_by(|slot| name_at(&self.blocks, *slot).cmp(name));
        self.slots.get(place.ok()?).copied()
    }

    /// Returns every parameter's name and where it lives.
    pub fn names(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.slots.iter().map(|slot| (name_at(&self.blocks, *slot), *slot))
    }

    /// Returns the parameters whose names start with `prefix`, and where they live.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Slot)> {
        let first = self.slots.partition_point(|slot| name_at(&self.blocks, *slot) < prefix);
        let named = self.slots.iter().skip(first).map(|slot| (name_at(&self.blocks, *slot), *slot));
        named.take_while(move |(name, _)| name.starts_with(prefix))
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
        let mut homes = self.under(prefix).map(|(_, slot)| slot.block);
        let first = homes.next()?;
        homes.all(|b| b == first).then_some(first)
    }

    /// Returns the stored size of all blocks.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.blocks.iter().map(Block::bytes).sum()
    }
}

/// Returns the name of the parameter that lives there.
fn name_at(blocks: &[Block], slot: Slot) -> &str {
    let block = usize::try_from(slot.block.0).ok().and_then(|index| blocks.get(index));
    block.and_then(|block| block.params.get(slot.param)).map_or("", |param| param.name.as_str())
}

/// Joins neighbours where one of them is smaller than `worth_a_copy` and both together are no more than four times that.
fn joined(blocks: Vec<Block>, worth_a_copy: Bytes) -> Vec<Block> {
    let most = Bytes(worth_a_copy.get().saturating_mul(4));
    let mut joined: Vec<Block> = Vec::with_capacity(blocks.len());
    for block in blocks {
        match joined.last_mut() {
            Some(last) if last.bytes().min(block.bytes()) < worth_a_copy && last.bytes() + block.bytes() <= most => {
                let first = last.name.split_once("..").map_or(last.name.as_str(), |(first, _)| first);
                last.name = format!("{first}..{}", block.name);
                last.params.extend(block.params);
            }
            Some(_) | None => joined.push(block),
        }
    }
    joined
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
            coded: None,
        });
        Catalog::new(entries, BTreeMap::new())
    }

    fn units(names: &[&str]) -> Vec<Unit> {
        names.iter().map(|n| Unit::all_of(*n)).collect()
    }

    fn names(table: &BlockTable) -> Vec<(&str, usize)> {
        table.blocks().iter().map(|b| (b.name.as_str(), b.params.len())).collect()
    }

    #[test]
    fn the_longest_prefix_takes_the_tensor() {
        let catalog = catalog(&["in.1.0.w", "in.1.1.w", "in.10.0.w", "time.w", "in.1.2.w"]);
        let table = BlockTable::cut(&catalog, &units(&["in.1.0", "in.1", "in.10"]), Bytes::ZERO);
        assert_eq!(names(&table), [("head", 1), ("in.1.0", 1), ("in.1", 2), ("in.10", 1)]);
        assert_eq!(table.slot("in.10.0.w"), Some(Slot { block: BlockIndex(3), param: 0 }));
        assert_eq!(table.home("in.1.0"), Some(BlockIndex(1)));
        assert_eq!(table.home("in.1"), None, "spread over several blocks");
        assert_eq!(table.bytes(), Bytes(40));
    }

    #[test]
    fn units_without_tensors_leave_no_block() {
        let table = BlockTable::cut(&catalog(&["a.w"]), &units(&["a", "b"]), Bytes::ZERO);
        assert_eq!(table.blocks().len(), 2);
        assert!(table.blocks()[0].pinned && table.blocks()[0].params.is_empty());
    }

    #[test]
    fn a_unit_may_have_several_prefixes() {
        let both = Unit { name: "ac".to_owned(), prefixes: vec!["a".to_owned(), "c".to_owned()] };
        let table = BlockTable::cut(&catalog(&["a.w", "b.w", "c.w"]), &[both, Unit::all_of("b")], Bytes::ZERO);
        assert_eq!(names(&table), [("head", 0), ("ac", 2), ("b", 1)]);
    }

    #[test]
    fn small_neighbours_are_joined() {
        let catalog = catalog(&["a.w", "b.1", "b.2", "c.w", "d.w", "e.1", "e.2"]);
        let table = BlockTable::cut(&catalog, &units(&["a", "b", "c", "d", "e"]), Bytes(16));
        assert_eq!(names(&table), [("head", 0), ("a..d", 5), ("e", 2)]);
        let table = BlockTable::cut(&catalog, &units(&["a", "b", "c", "d", "e"]), Bytes(9));
        assert_eq!(names(&table), [("head", 0), ("a..c", 4), ("d..e", 3)], "not more than four times as large");
    }
}
