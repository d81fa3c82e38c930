//! Which block comes into which part of staging memory, and when: the part of streaming that is the same for every device.
//!
//! Streamed blocks are used in one order, pass after pass. While one is computed with, the next ones come, and behind
//! the last of a pass comes the first of the next. Nothing is ever copied back: weights are only read.
//!
//! Staging memory is one ring, as in the [simulator](super::simulate): a block lies in one piece, behind the one that came
//! before it or, where the end is too short, at the beginning again. Where the mover can do that, a block flows in: its
//! first bytes come while its place is still in use further on.
//!
//! ```text
//! block   begin ── more ──> Coming ── arrive ──> Here ── another block is computed with ──> its place is free
//! ```

use std::collections::VecDeque;

use crate::units::BlockIndex;

/// Where in staging memory a block begins, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub usize);

/// What carries blocks into staging memory: reading threads, copy engines, a simulation.
pub trait Mover {
    /// Why a block cannot come.
    type Error;

    /// Returns whether it brings the beginning of a block while the rest of its place is still in use.
    fn flows(&self) -> bool {
        false
    }

    /// Begins to bring a block to a place, of which so many bytes from its beginning on are free: all of them, unless it
    /// [`flows`](Self::flows). Until it has [`arrive`](Self::arrive)d nobody looks there.
    fn begin(&mut self, block: BlockIndex, place: Place, free: usize) -> Result<(), Self::Error>;

    /// Hears that so many bytes of the place of the block that was begun last are free now, and brings what goes there.
    fn more(&mut self, _block: BlockIndex, _free: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Waits until what was asked for of this block is there. After an error its place is not in use any more.
    fn arrive(&mut self, block: BlockIndex) -> Result<(), Self::Error>;

    /// Hears that what was computed with this block has been handed to the device. Its place may be filled again next, unless
    /// it `stays`.
    fn leave(&mut self, block: BlockIndex, stays: bool);
}

/// A streamed block, and the room it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streamed {
    /// The block.
    pub block: BlockIndex,
    /// Its bytes in staging memory.
    pub size: usize,
}

/// A block in staging memory, or on its way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lying {
    block: BlockIndex,
    /// Where it begins on an endless tape, of which the ring is a window.
    begin: u64,
    size: usize,
    /// How much of its place it has got.
    free: usize,
    is_here: bool,
}

/// The streamed blocks in their order, and the memory they pass through.
#[derive(Debug)]
pub struct Stream {
    order: Vec<Streamed>,
    size: usize,
    /// The oldest first.
    lying: VecDeque<Lying>,
    /// Where the tape is free from.
    cursor: u64,
    /// The place in `order` of the block to begin next.
    next: usize,
    current: Option<BlockIndex>,
}

impl Stream {
    /// Returns a stream of these blocks, in order of execution, through a ring of `size` bytes.
    ///
    /// # Panics
    /// When a block is larger than the ring.
    #[must_use]
    pub fn new(order: Vec<Streamed>, size: usize) -> Self {
        let largest = order.iter().map(|s| s.size).max().unwrap_or(0);
        assert!(largest <= size, "a block of {largest} bytes does not pass through {size}");
        Self { order, size, lying: VecDeque::new(), cursor: 0, next: 0, current: None }
    }

    /// Returns the streamed blocks in order of execution.
    pub fn order(&self) -> impl Iterator<Item = BlockIndex> {
        self.order.iter().map(|s| s.block)
    }

    /// Returns the block that was acquired last, where it is not given up yet.
    #[must_use]
    pub fn current(&self) -> Option<BlockIndex> {
        self.current
    }

    /// Returns where a streamed block is, after waiting for it. The one that was acquired before is given up, unless it is
    /// the same.
    ///
    /// A block that comes out of turn, as after a pass that was broken off, is fetched, and the order goes on from there.
    pub fn acquire<M: Mover + ?Sized>(&mut self, block: BlockIndex, mover: &mut M) -> Result<Place, M::Error> {
        if self.current != Some(block) {
            self.give_up(mover);
            self.skip_to(block, mover)?;
            self.fill(mover)?;
            self.arrive(block, mover)?;
            self.current = Some(block);
        }
        Ok(self.lying.iter().find(|l| l.block == block).map_or(Place(0), |l| self.place(l.begin)))
    }

    /// Hears that computing goes on with a block that is not streamed: what was acquired last is given up.
    pub fn move_on<M: Mover + ?Sized>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        if self.current.is_none() {
            return Ok(());
        }
        self.give_up(mover);
        self.fill(mover)
    }

    /// Gives up the block that was acquired last, and waits for what is coming: nothing moves any more. A block that has come
    /// in part comes anew.
    pub fn settle<M: Mover + ?Sized>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        self.give_up(mover);
        let coming: Vec<BlockIndex> = self.lying.iter().filter(|l| !l.is_here).map(|l| l.block).collect();
        coming.into_iter().try_for_each(|block| self.arrive(block, mover))?;
        if let Some(last) = self.lying.pop_back_if(|last| last.free < last.size) {
            self.cursor = last.begin;
            self.next = self.order.iter().position(|s| s.block == last.block).unwrap_or(self.next);
        }
        Ok(())
    }

    fn place(&self, begin: u64) -> Place {
        Place((begin % self.size.max(1) as u64) as usize)
    }

    /// Returns whether there is room for all at once, so that each comes once and stays.
    fn has_room_for_all(&self) -> bool {
        self.order.iter().map(|s| s.size).sum::<usize>() <= self.size
    }

    fn give_up<M: Mover + ?Sized>(&mut self, mover: &mut M) {
        let Some(block) = self.current.take() else { return };
        let stays = self.has_room_for_all();
        mover.leave(block, stays);
        if !stays {
            self.lying.retain(|l| l.block != block);
        }
    }

    fn arrive<M: Mover + ?Sized>(&mut self, block: BlockIndex, mover: &mut M) -> Result<(), M::Error> {
        let Some(at) = self.lying.iter().position(|l| l.block == block && !l.is_here) else { return Ok(()) };
        let arrived = mover.arrive(block);
        match arrived {
            Ok(()) => self.lying[at].is_here = true,
            Err(_) => drop(self.lying.remove(at)),
        }
        arrived
    }

    /// Gets blocks out of the way that should have been used before this one.
    fn skip_to<M: Mover + ?Sized>(&mut self, block: BlockIndex, mover: &mut M) -> Result<(), M::Error> {
        if self.lying.iter().any(|l| l.block == block) {
            while let Some(first) = self.lying.front().copied().filter(|l| l.block != block && !self.has_room_for_all()) {
                self.arrive(first.block, mover)?;
                self.lying.pop_front();
            }
            return Ok(());
        }
        self.settle(mover)?;
        self.lying.clear();
        self.cursor = 0;
        self.next = self.order.iter().position(|s| s.block == block).unwrap_or(self.next);
        Ok(())
    }

    /// Returns how many bytes from here on are free on the tape, of so many.
    fn free(&self, begin: u64, size: usize) -> usize {
        let Some(oldest) = self.lying.front() else { return size };
        usize::try_from((oldest.begin + self.size as u64).saturating_sub(begin)).unwrap_or(size).min(size)
    }

    /// Has more come of the block that was begun last, where there was no room for all of it. Returns whether there is now.
    fn give_room<M: Mover + ?Sized>(&mut self, mover: &mut M) -> Result<bool, M::Error> {
        let Some(last) = self.lying.back().copied().filter(|last| last.free < last.size) else { return Ok(true) };
        let free = self.free(last.begin, last.size);
        if free > last.free {
            mover.more(last.block, free)?;
            self.lying.back_mut().into_iter().for_each(|last| last.free = free);
        }
        Ok(free == last.size)
    }

    /// Begins what comes next, as long as there is room for it.
    fn fill<M: Mover + ?Sized>(&mut self, mover: &mut M) -> Result<(), M::Error> {
        while self.give_room(mover)?
            && let Some(Streamed { block, size }) = self.order.get(self.next).copied()
        {
            let end_of_ring = self.cursor.next_multiple_of(self.size.max(1) as u64);
            let begin = if end_of_ring - self.cursor < size as u64 { end_of_ring } else { self.cursor };
            let free = self.free(begin, size);
            let is_taken = free < size && (free == 0 || !mover.flows());
            if is_taken || self.lying.iter().any(|l| l.block == block) {
                return Ok(());
            }
            mover.begin(block, self.place(begin), free)?;
            self.lying.push_back(Lying { block, begin, size, free, is_here: false });
            self.cursor = begin + size as u64;
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

    /// Checks that no byte is overwritten while it is in use, and that what is lent is what was asked for.
    #[derive(Debug, Default)]
    struct Watch {
        sizes: Vec<usize>,
        ring: usize,
        flows: bool,
        /// Where they come to lie, and how much of that they have been given.
        coming: BTreeMap<BlockIndex, (Place, usize)>,
        in_use: Option<(BlockIndex, Place)>,
        begun: Vec<u32>,
        fail_at: Option<usize>,
    }

    impl Watch {
        fn size(&self, block: BlockIndex) -> usize {
            self.sizes[block.0 as usize]
        }

        /// Checks that these bytes are nobody's.
        fn check(&self, block: BlockIndex, place: Place, free: usize) {
            let coming = self.coming.iter().filter(|(other, _)| **other != block).map(|(_, (place, given))| (place.0, *given));
            let in_use = self.in_use.map(|(block, place)| (place.0, self.size(block)));
            for (begin, length) in coming.chain(in_use) {
                let apart = begin + length <= place.0 || place.0 + free <= begin;
                assert!(apart, "{free} bytes of {block} are written over {length} at {begin}");
            }
        }
    }

    impl Mover for Watch {
        type Error = &'static str;

        fn flows(&self) -> bool {
            self.flows
        }

        fn begin(&mut self, block: BlockIndex, place: Place, free: usize) -> Result<(), Self::Error> {
            assert!(place.0 + self.size(block) <= self.ring, "{block} ends behind the ring");
            assert!(free == self.size(block) || (self.flows && (1..self.size(block)).contains(&free)), "{free} of {block}");
            self.check(block, place, free);
            if self.fail_at == Some(self.begun.len()) {
                self.fail_at = None;
                return Err("short read");
            }
            self.begun.push(block.0);
            assert!(self.coming.insert(block, (place, free)).is_none(), "{block} comes twice");
            Ok(())
        }

        fn more(&mut self, block: BlockIndex, free: usize) -> Result<(), Self::Error> {
            let (place, given) = self.coming[&block];
            assert!(given < free && free <= self.size(block), "{block} has {given} and gets {free}");
            self.check(block, place, free);
            self.coming.insert(block, (place, free));
            Ok(())
        }

        fn arrive(&mut self, block: BlockIndex) -> Result<(), Self::Error> {
            assert!(self.coming.remove(&block).is_some(), "{block} was not begun");
            Ok(())
        }

        fn leave(&mut self, block: BlockIndex, _stays: bool) {
            assert_eq!(self.in_use.take().map(|(b, _)| b), Some(block));
        }
    }

    fn acquire(stream: &mut Stream, mover: &mut Watch, block: u32) -> Result<Place, &'static str> {
        let is_lent = stream.current() == Some(BlockIndex(block));
        let given = mover.coming.get(&BlockIndex(block)).map(|(_, given)| *given);
        let place = stream.acquire(BlockIndex(block), mover)?;
        let lies = stream.lying.iter().find(|l| l.block == BlockIndex(block)).unwrap();
        assert!(is_lent || lies.free == mover.size(lies.block), "{block} is lent with {} bytes, {given:?} before", lies.free);
        mover.in_use = Some((BlockIndex(block), place));
        Ok(place)
    }

    fn of_sizes(sizes: &[usize], ring: usize) -> (Stream, Watch) {
        let order = (0..).map(BlockIndex).zip(sizes).map(|(block, size)| Streamed { block, size: *size }).collect();
        (Stream::new(order, ring), Watch { sizes: sizes.to_vec(), ring, ..Watch::default() })
    }

    /// `count` equal blocks, and room for `slots` of them.
    fn equal(count: usize, slots: usize) -> (Stream, Watch) {
        of_sizes(&vec![10; count], 10 * slots)
    }

    fn walk(stream: &mut Stream, mover: &mut Watch, blocks: &[u32]) {
        for block in blocks {
            acquire(stream, mover, *block).unwrap();
        }
    }

    #[test]
    fn the_next_pass_begins_to_come_while_the_last_block_is_computed_with() {
        let (mut stream, mut mover) = equal(4, 2);
        walk(&mut stream, &mut mover, &[0, 1, 2, 3]);
        assert_eq!(mover.begun, [0, 1, 2, 3, 0]);
        walk(&mut stream, &mut mover, &[0]);
        assert_eq!(mover.begun, [0, 1, 2, 3, 0, 1]);
    }

    #[test]
    fn a_block_that_is_asked_for_twice_in_a_row_comes_once() {
        let (mut stream, mut mover) = equal(4, 2);
        let first = acquire(&mut stream, &mut mover, 0).unwrap();
        assert_eq!(acquire(&mut stream, &mut mover, 0).unwrap(), first);
        assert_eq!(mover.begun, [0, 1]);
    }

    #[test]
    fn blocks_for_all_of_which_there_is_room_come_once() {
        let (mut stream, mut mover) = equal(3, 3);
        walk(&mut stream, &mut mover, &[0, 1, 2, 0, 1, 2, 0, 2, 1]);
        assert_eq!(mover.begun, [0, 1, 2]);
    }

    #[test]
    fn small_blocks_come_together_where_a_large_one_comes_alone() {
        let (mut stream, mut mover) = of_sizes(&[10, 3, 3, 3, 9], 12);
        let mut begun = Vec::new();
        for block in 0..5 {
            walk(&mut stream, &mut mover, &[block]);
            begun.push(mover.begun.len());
        }
        // Behind the first, 2 bytes are left; at the end of the ring, 3 of 9 are, which the last does not fit into.
        assert_eq!(begun, [1, 4, 4, 4, 5]);
        walk(&mut stream, &mut mover, &[0, 1, 2, 3, 4]);
        assert_eq!(mover.begun, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_broken_pass_is_followed_by_a_whole_one() {
        let (mut stream, mut mover) = equal(9, 3);
        walk(&mut stream, &mut mover, &[0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(mover.begun, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1]);
    }

    #[test]
    fn blocks_that_are_passed_over_make_room() {
        let (mut stream, mut mover) = equal(6, 3);
        walk(&mut stream, &mut mover, &[0, 2, 3]);
        assert_eq!(mover.begun, [0, 1, 2, 3, 4, 5]);
        assert!(mover.coming.keys().all(|b| b.0 > 3), "{:?}", mover.coming);
    }

    #[test]
    fn room_is_filled_again_while_resident_blocks_compute() {
        let (mut stream, mut mover) = equal(4, 2);
        walk(&mut stream, &mut mover, &[0]);
        stream.move_on(&mut mover).unwrap();
        assert_eq!(mover.begun, [0, 1, 2]);
        stream.move_on(&mut mover).unwrap();
        assert_eq!(mover.begun, [0, 1, 2]);
    }

    #[test]
    fn a_block_flows_into_a_place_that_is_in_use_at_its_end() {
        let (mut stream, mut mover) = of_sizes(&[6, 5, 6], 12);
        mover.flows = true;
        walk(&mut stream, &mut mover, &[0]);
        // Behind the second there is no room for the third, which has to begin where the first still lies.
        assert_eq!(mover.begun, [0, 1]);
        walk(&mut stream, &mut mover, &[1]);
        assert_eq!((&mover.begun[..], mover.coming[&BlockIndex(2)]), (&[0, 1, 2][..], (Place(0), 6)));
        let (mut stream, mut mover) = of_sizes(&[6, 5, 8], 12);
        mover.flows = true;
        walk(&mut stream, &mut mover, &[0, 1]);
        assert_eq!(mover.coming[&BlockIndex(2)], (Place(0), 6));
        stream.move_on(&mut mover).unwrap();
        assert_eq!(mover.coming[&BlockIndex(2)], (Place(0), 8));
    }

    #[test]
    fn what_has_come_in_part_comes_anew_after_a_rest() {
        let (mut stream, mut mover) = of_sizes(&[6, 5, 8], 12);
        mover.flows = true;
        walk(&mut stream, &mut mover, &[0, 1]);
        stream.settle(&mut mover).unwrap();
        assert!(mover.coming.is_empty() && stream.lying.is_empty());
        walk(&mut stream, &mut mover, &[2, 0]);
        assert_eq!(mover.begun, [0, 1, 2, 2, 0, 1]);
    }

    proptest! {
        /// Whatever is asked for and whatever fails on the way, each block that is lent is the one that was asked for.
        #[test]
        fn lends_what_was_asked_for(
            sizes in prop::collection::vec(1usize..40, 1..12),
            more in 0usize..80,
            asked in prop::collection::vec(0u32..12, 1..60),
            fail_at in prop::option::of(0usize..40),
            flows in any::<bool>(),
        ) {
            let ring = sizes.iter().copied().max().unwrap_or(0) + more;
            let (mut stream, mut mover) = of_sizes(&sizes, ring);
            (mover.fail_at, mover.flows) = (fail_at, flows);
            for block in asked {
                let block = block % sizes.len() as u32;
                // What failed is asked for again, as a run that is tried again does.
                let place = acquire(&mut stream, &mut mover, block).or_else(|_| acquire(&mut stream, &mut mover, block)).unwrap();
                let lent = stream.lying.iter().find(|l| l.block == BlockIndex(block)).unwrap();
                prop_assert!(lent.is_here && stream.place(lent.begin) == place);
                prop_assert!(!mover.coming.contains_key(&BlockIndex(block)));
            }
            stream.settle(&mut mover).unwrap();
            prop_assert!(mover.coming.is_empty());
        }
    }
}
