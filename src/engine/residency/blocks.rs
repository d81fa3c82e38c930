//! A component's blocks: those that live on the compute device, and those that are streamed to it.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tch::{Device, Tensor};

use super::Traffic;
use super::faults::{self, Fault};
use super::held::{Held, Lent};
use super::rebudget::GivenUp;
use super::residents::{Resident, Residents};
use super::staging::{Staging, Wanted};
use crate::engine::EngineError;
use crate::engine::cancel::CancelFlag;
use crate::engine::device::{Compute, kind};
use crate::engine::loading::assemble::Target;
use crate::engine::loading::{LoadError, Vault};
use crate::families::Role;
use crate::placement::plan::total;
use crate::placement::{OffloadPlan, Share};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable, Precision};

/// The blocks of one component.
#[derive(Debug)]
pub struct Residency {
    pub(super) role: Role,
    pub(super) table: BlockTable,
    pub(super) compute: Compute,
    pub(super) precision: Precision,
    /// Where each block lives: changed between two steps, see [`rebudget`](super::rebudget).
    pub(super) plan: RefCell<OffloadPlan>,
    /// The staging memory that was asked for, as weights are stored.
    pub(super) room: Cell<Bytes>,
    /// Blocks that the operator wants to stay here.
    pub(super) kept: RefCell<Vec<BlockIndex>>,
    /// What was asked for and is not done, in words.
    pub(super) misses: RefCell<Vec<String>>,
    pub(super) residents: Residents,
    /// Those that few runs use.
    later: Vec<BlockIndex>,
    pub(super) staging: RefCell<Option<Staging>>,
    /// What memory pressure keeps elsewhere than the plan that was asked for had it.
    pub(super) given_up: RefCell<GivenUp>,
    pub(super) vault: Arc<Vault>,
    cancel: CancelFlag,
    current: Cell<BlockIndex>,
    pub(super) lent: Cell<u32>,
    watching: Cell<bool>,
}

/// How blocks are placed.
#[derive(Debug, Clone)]
pub struct Placing<'a> {
    /// Where each block lives.
    pub plan: OffloadPlan,
    /// Staging memory for those that live elsewhere, as they are stored.
    pub staging: Bytes,
    /// What the names of blocks begin with that few runs use: brought to the compute device when they are first asked for.
    pub later: &'a [&'a str],
    /// Blocks that the operator wants to stay on the compute device: the last to leave where memory runs short.
    pub kept: Vec<BlockIndex>,
    /// What was asked for and is not done, in words.
    pub misses: Vec<String>,
}

impl Placing<'_> {
    /// Returns the placing of every block on the compute device.
    #[must_use]
    pub fn all_resident(compute: DeviceId, table: &BlockTable) -> Self {
        let plan = OffloadPlan::all_resident(compute, table);
        Self { plan, staging: Bytes::ZERO, later: &[], kept: Vec::new(), misses: Vec::new() }
    }
}

impl Residency {
    /// Takes the memory that streamed blocks will pass through, and brings the others to the compute device in the asked
    /// precision, each once: now, where memory is a matter of a plan or of a card, so that a shortage shows before the
    /// first step; when it is first asked for, where everything stays on the processor, so that no step waits for weights
    /// that it does not use.
    pub fn load(role: Role, table: BlockTable, vault: &Arc<Vault>, target: Target<'_>, placing: Placing<'_>) -> Result<Self, EngineError> {
        let Placing { plan, staging: room, later, kept, misses } = placing;
        let is_later = |(_, block): &(BlockIndex, &Block)| later.iter().any(|begin| block.name.starts_with(begin));
        let later = (0..).map(BlockIndex).zip(table.blocks()).filter(is_later).map(|(index, _)| index).collect();
        let at_once = !plan.streamed().is_empty() || target.compute.device != Device::Cpu || target.compute.simulated.is_some();
        let residency = Self {
            role,
            compute: target.compute.clone(),
            precision: target.precision,
            residents: Residents::new(&table, vault, target.compute, target.precision),
            later,
            plan: RefCell::new(plan),
            room: Cell::new(room),
            kept: RefCell::new(kept),
            misses: RefCell::new(misses),
            table,
            staging: RefCell::new(None),
            given_up: RefCell::default(),
            vault: Arc::clone(vault),
            cancel: target.cancel.clone(),
            current: Cell::new(BlockIndex(0)),
            lent: Cell::new(0),
            watching: Cell::new(false),
        };
        residency.take_memory(at_once)?;
        Ok(residency)
    }

    /// Takes the memory that the plan asks for and, `at_once`, brings the blocks that live here.
    pub(super) fn take_memory(&self, at_once: bool) -> Result<(), EngineError> {
        drop(self.ring()?);
        let wanted = (0..).map(BlockIndex).zip(self.table.blocks());
        for (index, block) in wanted.filter(|(index, _)| self.lives_here(*index) && !self.later.contains(index)) {
            self.cancel.check()?;
            self.current.set(index);
            self.residents.make_room(index, block).map_err(|e| self.failed(e))?;
            if at_once {
                self.bring(index, block)?;
            }
        }
        Ok(())
    }

    /// Brings the blocks that live here, asked for or not, but those that few runs use.
    pub fn bring_all(&self) -> Result<(), EngineError> {
        self.take_memory(true)
    }

    /// Returns the memory through which blocks are streamed, taking it where that is still to be done; `None` where all live
    /// here.
    fn ring(&self) -> Result<Option<RefMut<'_, Staging>>, EngineError> {
        if self.staging.borrow().is_none() {
            let plan = self.plan.borrow();
            if plan.streamed().is_empty() {
                return Ok(None);
            }
            if let Some(asked) = faults::due(Fault::Room) {
                return Err(self.no_room(Some(asked)));
            }
            let ring = self.room.get();
            let wanted = Wanted { table: &self.table, plan: &plan, vault: &self.vault, precision: self.precision, ring };
            let staging = Staging::new(wanted, &self.compute).map_err(|e| self.unstaged(e))?;
            self.staging.replace(Some(staging));
        }
        Ok(RefMut::filter_map(self.staging.borrow_mut(), Option::as_mut).ok())
    }

    fn lives_here(&self, block: BlockIndex) -> bool {
        self.plan.borrow().home(block) == self.compute.id
    }

    fn bring(&self, index: BlockIndex, block: &Block) -> Result<Rc<Resident>, EngineError> {
        self.current.set(index);
        let is_new = !self.residents.has(index);
        if let Some(asked) = Some(Fault::Room).filter(|_| is_new).and_then(faults::due) {
            return Err(self.no_room(Some(asked)));
        }
        let resident = self.residents.bring(index, block).map_err(|e| self.failed(e))?;
        if is_new { self.check_unwritten().map(|()| resident) } else { Ok(resident) }
    }

    /// Returns the error of a block that cannot be had.
    fn failed(&self, error: LoadError) -> EngineError {
        match error {
            LoadError::File(error) => EngineError::Library(error),
            LoadError::Memory { device, bytes: asked } => EngineError::OutOfMemory { device, place: self.place(), asked: Some(asked) },
            LoadError::Torch(error) => EngineError::torch(&error, self.compute.id, &self.place()),
            LoadError::Cuda(error) if error.is_out_of_memory() => self.no_room(None),
            LoadError::Cuda(error) => EngineError::Torch { place: self.place(), reason: error.to_string() },
            LoadError::NoWay { from, to } => EngineError::NoWay { from, to },
            LoadError::Budget(full) => EngineError::Budget { place: self.place(), full },
            LoadError::Untold(error) => EngineError::Simulated(error),
        }
    }

    /// Returns the error of memory through which blocks cannot pass.
    fn unstaged(&self, error: LoadError) -> EngineError {
        match error {
            LoadError::Budget(full) => EngineError::Budget { place: format!("streamed blocks of the {}", self.role), full },
            other => self.failed(other),
        }
    }

    fn no_room(&self, asked: Option<Bytes>) -> EngineError {
        EngineError::OutOfMemory { device: self.compute.id, place: self.place(), asked }
    }

    /// Lends a block. An error where it cannot be had, or where the run was taken back: this is where a run can stop.
    ///
    /// # Panics
    /// When there is no such block, or it is streamed while another streamed one is still on loan: a mistake in a model,
    /// not in a file.
    pub fn acquire(&self, block: BlockIndex) -> Result<Held<'_>, EngineError> {
        self.cancel.check()?;
        self.current.set(block);
        if let Some(asked) = faults::due(Fault::Loan) {
            return Err(self.no_room(Some(asked)));
        }
        let of_table = self.table.block(block);
        if let Some(of_table) = of_table.filter(|_| self.lives_here(block)) {
            let resident = self.bring(block, of_table)?;
            if let Some(staging) = self.staging.borrow_mut().as_mut().filter(|_| self.lent.get() == 0) {
                staging.move_on().map_err(|e| self.failed(e))?;
            }
            return Ok(Held { block, of_table: Some(of_table), kind: kind(self.precision), weights: Lent::Resident(resident) });
        }
        assert_eq!(self.lent.get(), 0, "{} was asked for while another streamed block was on loan", self.place());
        let mut ring = self.ring()?;
        let streamed = ring.as_mut().zip(of_table);
        assert!(streamed.is_some(), "there is no {}", self.place());
        let weights = streamed.map_or_else(|| Ok([].into()), |(ring, of_table)| ring.lend(block, of_table));
        let weights = weights.map_err(|e| self.failed(e))?;
        self.lent.set(1);
        Ok(Held { block, of_table, kind: kind(self.precision), weights: Lent::Staged { weights, lent: &self.lent } })
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

    /// Returns where each block lives.
    #[must_use]
    pub fn plan(&self) -> Ref<'_, OffloadPlan> {
        self.plan.borrow()
    }

    /// Returns in words what was asked for and is not done.
    #[must_use]
    pub fn misses(&self) -> Vec<String> {
        self.misses.borrow().clone()
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

    /// Returns the bytes that the plan puts on each device: on the compute device as they are computed with, elsewhere
    /// as they are stored.
    #[must_use]
    pub fn asked(&self) -> Vec<Share> {
        let bytes = |(index, block): (u32, &Block)| {
            let index = BlockIndex(index);
            if !self.lives_here(index) {
                block.bytes()
            } else if self.later.contains(&index) && !self.residents.has(index) {
                Bytes::ZERO
            } else {
                self.residents.size_of(block)
            }
        };
        self.plan.borrow().shares(&(0..).zip(self.table.blocks()).map(bytes).collect::<Vec<_>>())
    }

    /// Returns the bytes that weights take on each device now, counted from the tensors themselves and from what streams.
    #[must_use]
    pub fn measured(&self) -> Vec<Share> {
        let resident = self.residents.here().iter().map(|r| r.bytes()).sum();
        let streamed = self.staging.borrow().as_ref().map(Staging::held).unwrap_or_default();
        total(&[vec![Share { device: self.compute.id, bytes: resident }], streamed])
    }

    /// Returns the memory on the compute device through which blocks are streamed.
    #[must_use]
    pub fn staging(&self) -> Bytes {
        self.staging.borrow().as_ref().map_or(Bytes::ZERO, Staging::memory)
    }

    /// Returns what streaming has done since this was last asked.
    #[must_use]
    pub fn take_traffic(&self) -> Traffic {
        self.staging.borrow_mut().as_mut().map_or_else(Traffic::default, Staging::take_traffic)
    }

    /// Returns how long weights have been brought to the compute device since this was last asked; streaming not counted.
    #[must_use]
    pub fn take_bringing(&self) -> Duration {
        self.residents.take_bringing()
    }

    /// Returns how much of the weights lies in the page cache and not in memory of this process.
    #[must_use]
    pub fn in_map(&self) -> Bytes {
        self.residents.here().iter().map(|r| r.weights().in_map()).sum()
    }

    /// Fails where somebody wrote into a file whose bytes are computed with: the results are not of one model.
    pub fn check_files(&self) -> Result<(), EngineError> {
        if self.staging.borrow().is_some() || self.in_map() > Bytes::ZERO { self.check_unwritten() } else { Ok(()) }
    }

    pub(super) fn check_unwritten(&self) -> Result<(), EngineError> {
        match self.vault.files().iter().find(|f| f.was_written_into()) {
            Some(file) => Err(EngineError::Changed { path: file.path().to_owned() }),
            None => Ok(()),
        }
    }
}

fn place_of(role: Role, index: BlockIndex, block: &Block) -> String {
    format!("{role} block {index} (`{}`)", block.name)
}
