//! Which block comes into which staging slot, and when: the part of streaming that is the same for every device.
//!
//! Streamed blocks are used in one order, pass after pass. While one is computed with, the next ones come, and behind
//! the last of a pass comes the first of the next. Nothing is ever copied back: weights are only read.
//!
//! ```text
//! slot   Free ── begin ──> Coming(block) ── arrive ──> Here(block) ── another block is computed with ──> Free
//! ```

use crate::units::BlockIndex;

/// A staging slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotIndex(pub usize);

/// What carries blocks into slots: reading threads, copy engines, a simulation.
pub trait Mover {
    /// Why a block cannot come.
    type Error;

    /// Begins to bring a block into a slot. Until it has [`arrive`](Self::arrive)d nobody looks at the slot.
    fn begin(&mut self, block: BlockIndex, slot: SlotIndex) -> Result<(), Self::Error>;

    /// Waits until the block that was begun last in this slot is there. After an error the slot is not in use any more.
    fn arrive(&mut self, block: BlockIndex, slot: SlotIndex) -> Result<(), Self::Error>;

    /// Hears that what was computed with this slot's block has been handed to the device; the slot is filled again next.
    fn leave(&mut self, slot: SlotIndex);
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    Coming(BlockIndex),
    Here(BlockIndex),
}

impl Slot {
    fn block(self) -> Option<BlockIndex> {
        match self {
            Self::Free => None,
            Self::Coming(block) | Self::Here(block) => Some(block),
        }
    }
}

/// The streamed blocks in their order, and the slots they pass through.
#[derive(Debug)]
pub struct Stream {
    order: Vec<BlockIndex>,
    slots: Vec<Slot>,
    /// The place in `order` of the block to begin next.
    next: usize,
    current: Option<SlotIndex>,
}

impl Stream {
    /// Returns a stream of these blocks, in order of execution, through so many slots.
    ///
    /// # Panics
    /// With fewer than two slots, where nothing could come while something is computed with.
    #[must_use]
    pub fn new(order: Vec<BlockIndex>, slots: usize) -> Self {
        assert!(slots >= 2, "{slots} slots");
        Self { order, slots: vec![Slot::Free; slots], next: 0, current: None }
    }

    /// Returns the streamed blocks in order of execution.
    #[must_use]
    pub fn order(&self) -> &[BlockIndex] {
        &self.order
    }

    /// Returns the slot in which a streamed block is, after waiting for it. The one that was acquired before is given up,
    /// unless it is the same.
    ///
    /// A block that comes out of turn, as after a pass that was broken off, is fetched, and the order goes on from there.
    pub fn acquire<M: Mover>(&mut self, block: BlockIndex, mover: &mut M) -> Result<SlotIndex, M::Error> {
        if let Some(slot) = self.current {
            if self.slots[slot.0] == Slot::Here(block) {
                return Ok(slot);
            }
            self.give_up(slot, mover);
        }
        if self.find(block).is_none() {
            self.start_over_at(block, mover)?;
        }
        self.fill(mover)?;
        let slot = self.find(block).unwrap_or(SlotIndex(0));
        if self.slots[slot.0] == Slot::Coming(block) {
            self.slots[slot.0] = Slot::Free;
            mover.arrive(block, slot)?;
            self.slots[slot.0] = Slot::Here(block);
        }
        self.current = Some(slot);
        Ok(slot)
    }

    /// Hears that computing goes on with a block that is not streamed: what was acquired last is given up.
    pub fn move_on<M: Mover>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        let Some(slot) = self.current else { return Ok(()) };
        self.give_up(slot, mover);
        self.fill(mover)
    }

    /// Gives up the block that was acquired last, and waits for what is coming: nothing moves any more.
    pub fn settle<M: Mover>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        if let Some(slot) = self.current {
            self.give_up(slot, mover);
        }
        for slot in (0..self.slots.len()).map(SlotIndex) {
            if let Slot::Coming(block) = self.slots[slot.0] {
                self.slots[slot.0] = Slot::Free;
                mover.arrive(block, slot)?;
                self.slots[slot.0] = Slot::Here(block);
            }
        }
        Ok(())
    }

    fn give_up<M: Mover>(&mut self, slot: SlotIndex, mover: &mut M) {
        self.current = None;
        mover.leave(slot);
        // Where every streamed block has a slot, all stay.
        if self.order.len() > self.slots.len() {
            self.slots[slot.0] = Slot::Free;
        }
    }

    fn find(&self, block: BlockIndex) -> Option<SlotIndex> {
        self.slots.iter().position(|slot| slot.block() == Some(block)).map(SlotIndex)
    }

    /// Forgets what was fetched and goes on from this block.
    fn start_over_at<M: Mover>(&mut self, block: BlockIndex, mover: &mut M) -> Result<(), M::Error> {
        let Some(place) = self.order.iter().position(|b| *b == block) else { return Ok(()) };
        let none_coming = self.slots.iter().all(|slot| *slot == Slot::Free);
        if !(none_coming && self.next == place) {
            self.settle(mover)?;
            self.slots.fill(Slot::Free);
            self.next = place;
        }
        Ok(())
    }

    /// Begins what comes next, as long as there is a free slot for it.
    fn fill<M: Mover>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        while let Some(free) = self.slots.iter().position(|slot| *slot == Slot::Free) {
            let Some(block) = self.order.get(self.next).copied().filter(|b| self.find(*b).is_none()) else { return Ok(()) };
            mover.begin(block, SlotIndex(free))?;
            self.slots[free] = Slot::Coming(block);
            self.next = (self.next + 1) % self.order.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Checks that no slot is overwritten while it is in use, and that what is lent is what was asked for.
    #[derive(Debug, Default)]
    struct Watch {
        coming: BTreeMap<usize, BlockIndex>,
        in_use: Option<usize>,
        begun: Vec<u32>,
        fail_at: Option<usize>,
    }

    impl Mover for Watch {
        type Error = &'static str;

        fn begin(&mut self, block: BlockIndex, slot: SlotIndex) -> Result<(), Self::Error> {
            assert_ne!(self.in_use, Some(slot.0), "slot {} is computed with", slot.0);
            if self.fail_at == Some(self.begun.len()) {
                self.fail_at = None;
                return Err("short read");
            }
            self.begun.push(block.0);
            assert!(self.coming.insert(slot.0, block).is_none(), "slot {} is being filled", slot.0);
            Ok(())
        }

        fn arrive(&mut self, block: BlockIndex, slot: SlotIndex) -> Result<(), Self::Error> {
            assert_eq!(self.coming.remove(&slot.0), Some(block));
            Ok(())
        }

        fn leave(&mut self, slot: SlotIndex) {
            assert_eq!(self.in_use.take(), Some(slot.0));
        }
    }

    fn acquire(stream: &mut Stream, mover: &mut Watch, block: u32) -> Result<SlotIndex, &'static str> {
        let slot = stream.acquire(BlockIndex(block), mover)?;
        mover.in_use = Some(slot.0);
        Ok(slot)
    }

    fn blocks(range: std::ops::Range<u32>) -> Vec<BlockIndex> {
        range.map(BlockIndex).collect()
    }

    #[test]
    fn the_next_pass_begins_to_come_while_the_last_block_is_computed_with() {
        let (mut stream, mut mover) = (Stream::new(blocks(0..4), 2), Watch::default());
        for block in 0..4 {
            acquire(&mut stream, &mut mover, block).unwrap();
        }
        assert_eq!(mover.begun, [0, 1, 2, 3, 0]);
        acquire(&mut stream, &mut mover, 0).unwrap();
        assert_eq!(mover.begun, [0, 1, 2, 3, 0, 1]);
    }

    #[test]
    fn a_block_that_is_asked_for_twice_in_a_row_comes_once() {
        let (mut stream, mut mover) = (Stream::new(blocks(0..4), 2), Watch::default());
        let first = acquire(&mut stream, &mut mover, 0).unwrap();
        assert_eq!(acquire(&mut stream, &mut mover, 0).unwrap(), first);
        assert_eq!(mover.begun, [0, 1]);
    }

    #[test]
    fn blocks_that_all_have_a_slot_come_once() {
        let (mut stream, mut mover) = (Stream::new(blocks(0..3), 3), Watch::default());
        for block in [0, 1, 2, 0, 1, 2, 0] {
            acquire(&mut stream, &mut mover, block).unwrap();
        }
        assert_eq!(mover.begun, [0, 1, 2]);
    }

    #[test]
    fn a_broken_pass_is_followed_by_a_whole_one() {
        let (mut stream, mut mover) = (Stream::new(blocks(0..9), 3), Watch::default());
        for block in [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8] {
            acquire(&mut stream, &mut mover, block).unwrap();
        }
        assert_eq!(mover.begun, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1]);
    }

    #[test]
    fn a_slot_is_filled_again_while_resident_blocks_compute() {
        let (mut stream, mut mover) = (Stream::new(blocks(0..4), 2), Watch::default());
        acquire(&mut stream, &mut mover, 0).unwrap();
        stream.move_on(&mut mover).unwrap();
        assert_eq!(mover.begun, [0, 1, 2]);
        stream.move_on(&mut mover).unwrap();
        assert_eq!(mover.begun, [0, 1, 2]);
    }

    proptest! {
        /// Whatever is asked for and whatever fails on the way, each block that is lent is the one that was asked for.
        #[test]
        fn lends_what_was_asked_for(
            (count, slots) in (1u32..12, 2usize..5),
            asked in prop::collection::vec(0u32..12, 1..60),
            fail_at in prop::option::of(0usize..40),
        ) {
            let (mut stream, mut mover) = (Stream::new(blocks(0..count), slots), Watch { fail_at, ..Watch::default() });
            for block in asked {
                let block = block % count;
                // What failed is asked for again, as a run that is tried again does.
                let slot = acquire(&mut stream, &mut mover, block).or_else(|_| acquire(&mut stream, &mut mover, block)).unwrap();
                prop_assert_eq!(stream.slots[slot.0], Slot::Here(BlockIndex(block)));
                prop_assert!(!mover.coming.contains_key(&slot.0));
            }
            stream.settle(&mut mover).unwrap();
            prop_assert!(mover.coming.is_empty());
        }
    }
}
