//! Blocks move between two steps: where an operator asks for another plan, and where memory runs short.
//!
//! Weights are only read and their donor has them all, so a block is let go by forgetting it. What becomes free is free
//! before anything is taken: at no moment is more in use than under the larger of both plans.

use super::blocks::{Placing, Residency};
use super::layout::Layout;
use crate::engine::EngineError;
use crate::placement::OffloadPlan;
use crate::placement::pressure::{self, Piece};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, Precision};

/// Blocks that memory pressure keeps elsewhere.
#[derive(Debug, Default)]
pub struct GivenUp {
    /// Which, the last one last, and what each takes of the compute device when it is there.
    blocks: Vec<(BlockIndex, Bytes)>,
    /// The staging memory from before.
    room: Bytes,
}

impl GivenUp {
    /// Returns what they take of the compute device when they are there.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.blocks.iter().map(|(_, bytes)| *bytes).sum()
    }
}

impl Residency {
    /// Lets blocks live where another plan has them, while none is on loan: those that stay are kept, those that leave are
    /// let go, those that come are brought, and the staging memory is taken anew. Where that fails, blocks live where they
    /// did, and the next pass goes on as before.
    ///
    /// # Panics
    /// When a streamed block is on loan: a mistake in a model, not in a file.
    pub fn rebudget(&self, placing: &Placing<'_>) -> Result<(), EngineError> {
        self.go_over_to(&placing.plan, placing.staging, true)?;
        self.kept.replace(placing.kept.clone());
        self.misses.replace(placing.misses.clone());
        self.given_up.take();
        Ok(())
    }

    /// Goes over to a plan. Unless what comes is brought `at_once`, it is brought when it is asked for.
    fn go_over_to(&self, plan: &OffloadPlan, room: Bytes, at_once: bool) -> Result<(), EngineError> {
        assert_eq!(self.lent.get(), 0, "blocks were moved while one was on loan");
        if *self.plan.borrow() == *plan && self.room.get() == room {
            return Ok(());
        }
        let before = (self.plan.borrow().clone(), self.room.get());
        let moved = self.settle(plan.clone(), room, at_once);
        if moved.is_err() {
            // What cannot be had again now is asked for anew by the step that needs it, which then says so.
            let (plan, room) = before;
            if let Err(error) = self.settle(plan, room, at_once) {
                tracing::warn!("blocks are not back where they were: {error}");
            }
        }
        moved
    }

    fn settle(&self, plan: OffloadPlan, room: Bytes, at_once: bool) -> Result<(), EngineError> {
        self.staging.take();
        plan.streamed().into_iter().for_each(|index| self.residents.let_go(index));
        self.plan.replace(plan);
        self.room.set(room);
        self.take_memory(at_once)
    }

    /// Gives at least `need` bytes of the compute device's memory back by letting blocks live with `donor`, or as many as there
    /// are. Returns how many bytes that were: none where no block has memory of its own.
    pub fn give_up(&self, need: Bytes, donor: DeviceId) -> Result<Bytes, EngineError> {
        let victims = pressure::victims(&self.pieces(), self.passing(), need);
        if victims.is_empty() {
            return Ok(Bytes::ZERO);
        }
        let mut plan = self.plan.borrow().clone();
        let mut blocks = Vec::with_capacity(victims.len());
        for index in victims {
            let own = self.residents.get(index).map_or(Bytes::ZERO, |r| r.own());
            blocks.push((index, own));
            if let Some(home) = plan.homes.get_mut(index.0 as usize) {
                *home = donor;
            }
        }
        let (room, freed) = (self.room.get(), blocks.iter().map(|(_, own)| *own).sum());
        self.go_over_to(&plan, room, false)?;
        let mut given_up = self.given_up.borrow_mut();
        if given_up.blocks.is_empty() {
            given_up.room = room;
        }
        given_up.blocks.extend(blocks);
        Ok(freed)
    }

    /// Brings back blocks that memory pressure keeps elsewhere, those that left last first, as far as they take no more than
    /// `room`. Returns what they take.
    pub fn take_back(&self, room: Bytes) -> Result<Bytes, EngineError> {
        let coming = pressure::returning(&self.given_up.borrow().blocks, room);
        if coming.is_empty() {
            return Ok(Bytes::ZERO);
        }
        let mut plan = self.plan.borrow().clone();
        for index in &coming {
            if let Some(home) = plan.homes.get_mut(index.0 as usize) {
                *home = plan.compute;
            }
        }
        let before = self.given_up.borrow().room;
        self.go_over_to(&plan, before, true)?;
        let mut given_up = self.given_up.borrow_mut();
        let taken = given_up.blocks.iter().filter(|(index, _)| coming.contains(index)).map(|(_, bytes)| *bytes).sum();
        given_up.blocks.retain(|(index, _)| !coming.contains(index));
        Ok(taken)
    }

    /// Lets go of the blocks that live here until they are asked for again, while none is on loan. Returns the memory of their
    /// own that becomes free.
    pub fn rest(&self) -> Bytes {
        let own = self.residents.here().iter().map(|r| r.own()).sum();
        if own > Bytes::ZERO {
            (0u32..).map(BlockIndex).zip(self.table().blocks()).for_each(|(index, _)| self.residents.let_go(index));
        }
        own
    }

    /// Returns the blocks that memory pressure keeps elsewhere though the operator wants them to stay.
    #[must_use]
    pub fn gave_way(&self) -> Vec<BlockIndex> {
        let (kept, given_up) = (self.kept.borrow(), self.given_up.borrow());
        given_up.blocks.iter().map(|(index, _)| *index).filter(|index| kept.contains(index)).collect()
    }

    /// Returns what memory pressure keeps elsewhere.
    #[must_use]
    pub fn given_up(&self) -> Bytes {
        self.given_up.borrow().bytes()
    }

    /// Returns the memory of the compute device that is the weights' own, staging counted: what lies in the page cache is not.
    #[must_use]
    pub fn own(&self) -> Bytes {
        self.residents.here().iter().map(|r| r.own()).sum::<Bytes>() + self.staging()
    }

    /// Returns the donors of the blocks that are streamed, in order of execution, some more than once.
    #[must_use]
    pub fn donors(&self) -> Vec<DeviceId> {
        let plan = self.plan.borrow();
        plan.streamed().into_iter().map(|index| plan.home(index)).collect()
    }

    /// Returns how much staging memory the most demanding of the streamed blocks needs.
    fn passing(&self) -> Bytes {
        let streamed = self.plan.borrow().streamed();
        streamed.into_iter().filter_map(|index| self.table().block(index)).map(|b| self.passes(b)).max().unwrap_or(Bytes::ZERO)
    }

    /// Returns how much staging memory a block needs: as it is stored and, where that is something else, as it is computed with.
    fn passes(&self, block: &Block) -> Bytes {
        let expands = block.params.iter().any(|p| p.entry.coded.is_none() && Precision::of(p.entry.dtype) != Some(self.precision));
        Bytes(Layout::of(block).size as u64) + if expands { self.residents.size_of(block) } else { Bytes::ZERO }
    }

    fn pieces(&self) -> Vec<Piece> {
        let plan = self.plan.borrow();
        let piece = |(index, block): (BlockIndex, &Block)| Piece {
            block: index,
            frees: if block.pinned { Bytes::ZERO } else { self.residents.get(index).map_or(Bytes::ZERO, |r| r.own()) },
            passes: self.passes(block),
            is_streamed: plan.home(index) != plan.compute,
            is_pinned: self.kept.borrow().contains(&index),
        };
        (0..).map(BlockIndex).zip(self.table().blocks()).map(piece).collect()
    }
}
