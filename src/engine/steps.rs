//! Around the steps of a run: each is reported, and between two of them the run is held, its weights move, and the device's
//! memory is looked at. Where memory runs out in a step, weights give some back and the step is repeated.

use std::time::Instant;

use tch::Tensor;

use super::cancel::CancelFlag;
use super::loading::Asked;
use super::pipelines::latent::Latent;
use super::pipelines::solve::Around;
use super::preview;
use super::reporter::{PreviewRate, preview as preview_report};
use super::residency::{Residency, Traffic};
use super::runner::{Run, Runner};
use super::{EngineError, account};
use crate::families::Role;
use crate::jobs::Timing;
use crate::placement::pressure::{Verdict, after_failure};
use crate::placement::{OffloadAsk, Share};
use crate::units::{Bytes, DeviceId};
use crate::wire::work::{Moved, Rebudget, Rebudgeted};
use crate::wire::{Report, RunOrder};
use crate::workflow::Refusal;

/// How often a step is repeated after memory ran out in it.
const REPEATS: u32 = 3;

/// A run among its steps.
pub struct Steps<'a> {
    runner: &'a Runner,
    residency: &'a Residency,
    order: &'a RunOrder,
    cancel: &'a CancelFlag,
    timing: &'a mut Timing,
    traffic: &'a mut Vec<Traffic>,
    warnings: &'a mut Vec<String>,
    /// How many steps were finished when weights moved last.
    moved_at: &'a mut Option<usize>,
    rate: PreviewRate,
    steps: u32,
    /// How often this step was repeated.
    repeats: u32,
    /// Seconds of passes that were broken off in it, and of what was done about that.
    lost_s: f64,
}

impl<'a> Steps<'a> {
    /// Returns a run before the first of so many steps.
    pub(super) fn new(runner: &'a Runner, run: &'a mut Run<'_>, residency: &'a Residency, steps: u32) -> Self {
        // What was fetched before the first step is not the first step's.
        let _before: Traffic = residency.take_traffic();
        account::look_anew(&runner.compute);
        Self {
            runner,
            residency,
            order: run.order,
            cancel: run.cancel,
            timing: &mut run.timing,
            traffic: &mut run.traffic,
            warnings: &mut run.warnings,
            moved_at: &mut run.moved_at,
            rate: PreviewRate::new(),
            steps,
            repeats: 0,
            lost_s: 0.0,
        }
    }

    /// Does what is due between two steps: weights move, memory is looked at, and the operator may hold the run.
    pub(super) fn border(&mut self) -> Result<(), EngineError> {
        self.runner.tend();
        self.rebudget();
        self.watch();
        if self.cancel.is_paused() {
            self.runner.reporter.report(Report::Paused(self.order.run));
            while self.cancel.is_paused() {
                self.cancel.wait_while_paused()?;
                self.rebudget();
            }
            self.runner.reporter.report(Report::Resumed(self.order.run));
        }
        self.cancel.check()
    }

    /// Has weights live elsewhere where the operator wants it.
    fn rebudget(&mut self) {
        while let Some(ask) = self.cancel.take_budget() {
            let began = Instant::now();
            let moved = self.move_to(&ask);
            self.has_moved(began);
            let outcome = match moved {
                Ok(()) => {
                    let (plan, shares) = (self.residency.plan().clone(), self.shares());
                    Rebudget::Moved(Moved { plan, shares, seconds: began.elapsed().as_secs_f64() })
                }
                Err(error) => Rebudget::Refused(Refusal::from(&error)),
            };
            let report = Rebudgeted { run: self.order.run, ask, outcome };
            self.runner.reporter.report(Report::Rebudgeted(Box::new(report)));
        }
    }

    fn move_to(&self, ask: &OffloadAsk) -> Result<(), EngineError> {
        let (runner, spec) = (self.runner, &self.order.spec);
        let machine = runner.machine(spec, Role::Denoiser, ask, self.residency.own())?;
        let asked = Asked { ask: ask.clone(), machine, work: spec.work() };
        let rebudget = || runner.guarded(Role::Denoiser, || runner.sets.rebudget(&runner.compute, &asked, self.cancel));
        let mut moved = rebudget();
        while let Err(error) = &moved
            && runner.is_helped(self.order.run, error)
        {
            moved = rebudget();
        }
        moved
    }

    /// What the network's weights take on each device, the one that computes first.
    fn shares(&self) -> Vec<Share> {
        let mut shares = self.residency.measured();
        shares.sort_by_key(|share| share.device != self.runner.compute.id);
        shares
    }

    /// Looks at the device's memory: where it is short, weights give some back; where there has been plenty for a while, they
    /// return.
    fn watch(&mut self) {
        let look = |runner: &Runner| runner.keeper.borrow_mut().look(&runner.compute);
        match look(self.runner) {
            Verdict::Keep => drop(self.runner.keeper.borrow_mut().helpless(false)),
            Verdict::Shrink(need) => {
                // Sets that no run works with cost this one nothing.
                self.runner.others_leave(self.order.run, need);
                // What the allocator keeps for later goes first: it costs one step some time, and weights cost every step some.
                self.runner.compute.trim();
                if let Verdict::Shrink(need) = look(self.runner) {
                    self.shrink(need);
                }
            }
            Verdict::Grow(room) => self.grow(room),
        }
    }

    fn shrink(&mut self, need: Bytes) {
        let (began, device) = (Instant::now(), self.runner.compute.id);
        match self.give_up(need) {
            Ok((Bytes::ZERO, _)) | Err(_) if !self.runner.keeper.borrow_mut().helpless(true) => {}
            Ok((Bytes::ZERO, _)) => {
                let free = self.runner.keeper.borrow().told(&self.runner.compute);
                self.warn(format!("memory of {device} is short ({free}), and the run has no weights there that it could give back"));
            }
            Ok((given, donor)) => {
                self.has_moved(began);
                let pins = self.gave_way();
                self.warn(format!("memory of {device} was short by {need}: {given} of weights left it and come from {donor}{pins}"));
            }
            Err(error) => self.warn(format!("memory of {device} is short by {need}, and weights could not leave it: {error}")),
        }
    }

    fn grow(&mut self, room: Bytes) {
        let (began, device) = (Instant::now(), self.runner.compute.id);
        if self.residency.given_up() == Bytes::ZERO {
            return;
        }
        match self.runner.guarded(Role::Denoiser, || self.residency.take_back(room)) {
            Ok(Bytes::ZERO) => {}
            Ok(taken) => {
                self.has_moved(began);
                let left = match self.residency.given_up() {
                    Bytes::ZERO => "all of them are back".to_owned(),
                    bytes => format!("{bytes} are still elsewhere"),
                };
                self.warn(format!("{device} has memory again: {taken} of weights returned to it; {left}"));
            }
            Err(error) => {
                self.has_moved(began);
                self.warn(format!("weights could not return to {device}: {error}"));
            }
        }
    }

    /// Has weights give back more than what could not be had, so that the step can be repeated; an error where that was done too
    /// often, or nothing is left to give.
    fn make_room(&mut self, error: EngineError, asked: Option<Bytes>) -> Result<(), EngineError> {
        let (began, device, runner) = (Instant::now(), self.runner.compute.id, self.runner);
        runner.compute.trim();
        let margin = runner.keeper.borrow().margin(&runner.compute);
        // What was given back once and was not enough is no measure of what the rest of the step wants.
        let need = Bytes(after_failure(asked, margin).get().saturating_mul(1 << (2 * self.repeats)));
        if runner.others_leave(self.order.run, need) > Bytes::ZERO {
            return Ok(());
        }
        let given = if self.repeats < REPEATS { self.give_up(need) } else { Ok((Bytes::ZERO, device)) };
        match given {
            Ok((given, donor)) if given > Bytes::ZERO => {
                self.repeats += 1;
                self.has_moved(began);
                let step = self.timing.per_step.len() + 1;
                let pins = self.gave_way();
                self.warn(format!("{error}; {given} of weights left {device} and come from {donor}{pins}, and step {step} is repeated"));
                Ok(())
            }
            Ok(_) => Err(self.exhausted(error)),
            Err(other) => {
                tracing::warn!("weights could not leave {device}: {other}");
                Err(self.exhausted(error))
            }
        }
    }

    fn exhausted(&self, error: EngineError) -> EngineError {
        let repeats = Some(self.repeats).filter(|n| *n > 0);
        EngineError::Exhausted { error: Box::new(error), repeats, ledger: self.runner.ledger() }
    }

    /// Has weights leave the device that computes for the first donor that has room for them. Returns how much left, and for
    /// which.
    fn give_up(&self, need: Bytes) -> Result<(Bytes, DeviceId), EngineError> {
        let compute = self.runner.compute.id;
        let mut donors = self.donors().into_iter().peekable();
        while let Some(donor) = donors.next() {
            match self.runner.guarded(Role::Denoiser, || self.residency.give_up(need, donor)) {
                Err(full) if donors.peek().is_some() && full.short_of(compute) == Some(donor) => {
                    tracing::info!("weights that leave {compute} look for another donor: {full}");
                }
                given => return given.map(|given| (given, donor)),
            }
        }
        Ok((Bytes::ZERO, compute))
    }

    /// Returns where weights go that leave the device that computes: where others of them are, else to whom the job says, and
    /// at last to the disk, where they came from.
    fn donors(&self) -> Vec<DeviceId> {
        let asked = self.order.spec.offload.donors_of(self.runner.compute.id);
        let mut donors = Vec::new();
        for donor in self.residency.donors().into_iter().chain(asked).chain([DeviceId::Disk]) {
            if !donors.contains(&donor) {
                donors.push(donor);
            }
        }
        donors
    }

    /// Says which blocks have left that were pinned here, as the end of a sentence.
    fn gave_way(&self) -> String {
        let mut blocks = self.residency.gave_way();
        blocks.sort_unstable();
        let pins = blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if blocks.is_empty() { pins } else { format!(", though pinned: blocks {pins}, for no others had any left to give") }
    }

    /// Takes note that weights have moved, and of the time since it began: it is no step's.
    fn has_moved(&mut self, began: Instant) {
        let runner = self.runner;
        // What was brought is in that time.
        let _at_once = runner.sets.take_bringing();
        let _before: Traffic = self.residency.take_traffic();
        runner.compute.trim();
        account::look_anew(&runner.compute);
        self.timing.load += began.elapsed().as_secs_f64();
        *self.moved_at = Some(self.timing.per_step.len());
        runner.keeper.borrow_mut().disturb();
        runner.report_memory();
    }

    /// Tells the operator at once, and at the end again.
    fn warn(&mut self, text: String) {
        self.runner.warn(self.order.run, &text);
        self.warnings.push(text);
    }
}

impl Around for Steps<'_> {
    fn look(&mut self, look: &dyn Fn() -> Result<Latent, EngineError>) -> Result<Latent, EngineError> {
        loop {
            let began = Instant::now();
            match self.runner.guarded(Role::Denoiser, look) {
                Err(error @ EngineError::OutOfMemory { asked, .. }) => self.make_room(error, asked)?,
                other => return other,
            }
            self.lost_s += began.elapsed().as_secs_f64();
        }
    }

    fn finished_step(&mut self, step: usize, seconds: f64, denoised: &Tensor) -> Result<(), EngineError> {
        let (runner, run) = (self.runner, self.order.run);
        self.repeats = 0;
        let loaded = self.timing.load;
        let seconds = runner.without_loading(self.timing, seconds - std::mem::take(&mut self.lost_s));
        if self.timing.load > loaded {
            runner.report_memory();
        }
        self.timing.per_step.push(seconds);
        self.traffic.push(self.residency.take_traffic());
        let step = u32::try_from(step + 1).unwrap_or(u32::MAX);
        runner.reporter.report(Report::Step { run, step, steps: self.steps, seconds });
        if self.rate.take()
            && let Some(small) = preview::thumbnail(denoised, self.order.spec.set.family.latent_space())
        {
            runner.reporter.report(preview_report(run, step, &small));
        }
        self.border()
    }
}
