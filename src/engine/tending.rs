//! Sets come and go without a picture: loaded ahead, unloaded, pinned.

use super::EngineError;
use super::cancel::CancelFlag;
use super::inference::infer;
use super::runner::{Run, Runner, failed_run};
use super::wishes::Wishes;
use crate::families::Role;
use crate::wire::{Report, RunOrder};
use crate::workflow::{Kind, Refusal, SetId};

impl Runner {
    /// Returns what operators want of sets, to be written down by who hears of it.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        self.sets.shelf.borrow().wishes.clone()
    }

    /// Loads the parts of a job, and reports how that ended. Returns whether the engine can go on.
    pub fn load_set(&mut self, order: &RunOrder, cancel: &CancelFlag) -> bool {
        let mut run = Run::new(order, cancel);
        run.is_ahead = true;
        let result = infer(|| self.load_whole(&mut run));
        self.forget_unloadable(&result);
        self.compute.trim();
        self.report_memory();
        let failure = result.as_ref().err().map(|error| Box::new(failed_run(order.run, error)));
        self.reporter.report(Report::Loaded { run: order.run, failure });
        !result.is_err_and(|error| error.is_fatal())
    }

    fn load_whole(&mut self, run: &mut Run<'_>) -> Result<(), EngineError> {
        let _asks = self.load(run)?;
        self.load_vae(run)?;
        self.with_room(run.order.run, Role::Denoiser, |me| me.sets.bring())?;
        let _at_once = self.sets.take_bringing();
        Ok(())
    }

    /// Has sets leave that are to leave and that no run works with, between two steps of one.
    pub(super) fn tend(&self) {
        for set in self.wishes().take_leaving() {
            let mut shelf = self.sets.shelf.borrow_mut();
            let is_used = shelf.current.as_ref() == Some(&set);
            let refusal = is_used.then(|| {
                let hint = "wait for the job, or cancel it: `perilune queue list` shows it";
                Refusal::new(Kind::Refused, format!("set {set} is in use"), hint)
            });
            let has_left = !is_used && shelf.unload(&set);
            drop(shelf);
            if has_left {
                self.compute.trim();
                self.report_memory();
            }
            self.reporter.report(Report::Unloaded { set, refusal });
        }
    }

    /// The same while no run is there: no set is in use.
    pub fn tend_at_rest(&mut self) {
        let is_current = |set: &SetId| self.sets.shelf.borrow().current.as_ref() == Some(set);
        let leaving = self.wishes().take_leaving();
        let has_current = leaving.iter().any(is_current);
        for set in leaving {
            self.wishes().unload(set);
        }
        if has_current {
            self.sets.put_away();
        }
        self.tend();
    }
}
