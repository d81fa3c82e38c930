//! One job: load, read the prompts, sample, decode, save. The only place that catches unwinding.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tch::Tensor;

use super::account::{self, Account};
use super::asking::wishes_for;
use super::cancel::CancelFlag;
use super::device::Compute;
use super::error::panic_text;
use super::inference::infer;
use super::keeping::{Keeper, Senses};
use super::loading::Asks;
use super::pipelines::{autoencoder, denoise};
use super::reading::loading;
use super::reporter::Reporter;
use super::residency::Traffic;
use super::sets::Sets;
use super::speeds::{self, Speeds};
use super::steps::Steps;
use super::{EngineError, calibration, heap, save};
use crate::cache::Embeddings;
use crate::families::Role;
use crate::jobs::{ImageRecord, Phase, Placement, Timing};
use crate::placement::{Finding, Predicted, Share, Walk, verify};
use crate::units::RunId;
use crate::wire::work::{CALIBRATION, CalibrateOrder, FailedRun, Finished, Memory};
use crate::wire::{Report, RunOrder};
use crate::workflow::{JobSpec, Kind, Refusal};

/// Runs jobs on one device, and keeps what they loaded.
#[derive(Debug)]
pub struct Runner {
    pub(super) compute: Compute,
    pub(super) sets: Sets,
    account: Account,
    pub(super) speeds: Speeds,
    pub(super) reporter: Reporter,
    pub(super) keeper: RefCell<Keeper>,
    /// What text encoders made of texts, where it is kept.
    pub(super) texts: Option<Embeddings>,
}

/// One run on its way.
pub(super) struct Run<'a> {
    pub(super) order: &'a RunOrder,
    pub(super) cancel: &'a CancelFlag,
    pub(super) timing: Timing,
    pub(super) warnings: Vec<String>,
    /// Whether weights are loaded for texts that nobody knows yet.
    pub(super) is_ahead: bool,
    /// How many steps were finished when weights moved last, if they did.
    pub(super) moved_at: Option<usize>,
    /// What was expected of a step.
    predicted: Option<Predicted>,
    /// What was streamed in each step.
    pub(super) traffic: Vec<Traffic>,
    /// What the steps have shown.
    learned: Vec<Finding>,
    /// What each of their walks was.
    walk: Option<Walk>,
}

impl<'a> Run<'a> {
    /// Returns one before its first stage.
    pub(super) fn new(order: &'a RunOrder, cancel: &'a CancelFlag) -> Self {
        Self {
            order,
            cancel,
            timing: Timing::default(),
            warnings: order.spec.notes.clone(),
            is_ahead: false,
            moved_at: None,
            predicted: None,
            traffic: Vec::new(),
            learned: Vec::new(),
            walk: None,
        }
    }

    /// Returns how many steps were finished when weights moved last: those before were another matter.
    fn settled(&self) -> usize {
        self.moved_at.unwrap_or(0)
    }
}

impl Runner {
    /// Returns a runner that has loaded nothing yet.
    #[must_use]
    pub fn new(compute: Compute, reporter: Reporter) -> Self {
        Self::sensing(compute, reporter, Senses::real())
    }

    /// Returns a runner that sees the device's memory and the time with these.
    #[must_use]
    pub fn sensing(compute: Compute, reporter: Reporter, senses: Senses) -> Self {
        Self {
            compute,
            sets: Sets::default(),
            account: Account::start(),
            speeds: Speeds::default(),
            reporter,
            keeper: RefCell::new(Keeper::new(senses)),
            texts: None,
        }
    }

    /// Returns the same runner with a place to keep what text encoders make of texts.
    #[must_use]
    pub fn keeping(self, texts: Option<Embeddings>) -> Self {
        Self { texts, ..self }
    }

    /// Runs a job and reports how it ended. Returns whether the engine can go on.
    pub fn run(&mut self, order: &RunOrder, cancel: &CancelFlag) -> bool {
        self.reporter.report(Report::Started(order.run));
        let mut run = Run::new(order, cancel);
        let result = infer(|| self.stages(&mut run));
        self.forget_unloadable(&result);
        heap::trim();
        self.report_memory();
        match result {
            Ok(images) => {
                self.reporter.report(Report::Finished(Box::new(self.finished(run, images))));
                true
            }
            Err(error) => {
                tracing::warn!(run = order.run.0, "{error}");
                self.reporter.report(Report::Failed(Box::new(failed_run(order.run, &error))));
                !error.is_fatal()
            }
        }
    }

    /// Forgets the set in use where its files cannot be loaded: nobody is to see it among those that are.
    pub(super) fn forget_unloadable<T>(&mut self, result: &Result<T, EngineError>) {
        if result.as_ref().is_err_and(|error| Refusal::from(error).kind == Kind::BadFile) && !self.sets.is_whole() {
            self.sets.forget();
            self.compute.trim();
        }
    }

    /// Measures the machine, with nothing loaded, and reports how that ended. Returns whether the engine can go on.
    pub fn calibrate(&mut self, order: &CalibrateOrder, cancel: &CancelFlag) -> bool {
        self.sets.clear();
        heap::trim();
        self.report_memory();
        let tell = |finding| self.reporter.report(Report::Found(finding));
        let measured = catch_unwind(AssertUnwindSafe(|| infer(|| calibration::calibrate(&self.compute, order, cancel, &tell))));
        let result = self.unwound(Role::Denoiser, measured);
        heap::trim();
        let failure = result.as_ref().err().map(|error| failed_run(CALIBRATION, error));
        self.reporter.report(Report::Calibrated(failure.map(Box::new)));
        !result.is_err_and(|error| error.is_fatal())
    }

    fn stages(&mut self, run: &mut Run<'_>) -> Result<Vec<ImageRecord>, EngineError> {
        let began = Instant::now();
        let spec = &run.order.spec;
        let precision = spec.computes_in();
        let asks = self.load(run)?;
        self.verify(run);
        let denoiser = self.sets.ready_denoiser()?;
        run.predicted = asks.get(Role::Denoiser).map(|asked| denoiser.expect(asked.work, precision, &asked.machine));
        self.report_memory();

        if spec.init.is_some() {
            self.load_vae(run)?;
        }
        self.phase(run.order.run, Phase::Encoding);
        let (picture, seconds) = self.timed(Role::ClipL, |me| {
            me.sets.condition(spec, &loading(&me.compute, me.texts.as_ref(), precision, &asks, run))?;
            let notes = me.sets.notes().iter().filter(|note| !run.warnings.contains(note)).cloned().collect::<Vec<_>>();
            run.warnings.extend(notes);
            me.picture_latent(spec, &mut run.warnings)
        })?;
        run.timing.encode += self.without_loading(&mut run.timing, seconds);

        self.phase(run.order.run, Phase::Sampling);
        let loaded = run.timing.load;
        let (latents, seconds) = self.timed(Role::Denoiser, |me| me.sample(run, picture.as_ref()))?;
        run.timing.sample = seconds - (run.timing.load - loaded);
        self.learn(run)?;

        // The decoder's blocks are of other sizes and would not fit into the holes that sampling left.
        heap::trim();
        self.phase(run.order.run, Phase::Decoding);
        let (pictures, seconds) = self.pictures(run, &latents)?;
        run.timing.decode = self.without_loading(&mut run.timing, seconds);

        self.phase(run.order.run, Phase::Saving);
        run.cancel.check()?;
        self.sets.check_files()?;
        let images = save::all(run.order, &pictures, &latents, precision)?;
        run.timing.total = began.elapsed().as_secs_f64();
        Ok(images)
    }

    /// Loads the text encoders and the diffusion network.
    pub(super) fn load(&mut self, run: &mut Run<'_>) -> Result<Asks, EngineError> {
        let spec = &run.order.spec;
        self.speeds.recall(&run.order.known);
        let precision = spec.computes_in();

        self.phase(run.order.run, Phase::Loading);
        if let Some(simulated) = &self.compute.simulated {
            simulated.look()?;
        }
        let wishes = wishes_for(spec);
        let ((), seconds) =
            self.timed(Role::ClipL, |me| me.sets.take_up(spec, &loading(&me.compute, me.texts.as_ref(), precision, &wishes, run)))?;
        run.timing.load = seconds;
        let (unread, seconds) = self.timed(Role::ClipL, |me| {
            if run.is_ahead {
                me.sets.forget_text();
                return Ok(true);
            }
            me.sets.recall(spec, &loading(&me.compute, me.texts.as_ref(), precision, &wishes, run))
        })?;
        run.timing.encode = seconds;
        // What is placed now knows what others hold, and what of it would leave.
        let asks = self.asks(spec)?;
        self.sets.forget_traffic();
        self.room_for_the_rest(run, precision)?;
        run.timing.load += self.with_room(run.order.run, Role::ClipL, |me| {
            me.sets.load_encoders(spec, &loading(&me.compute, me.texts.as_ref(), precision, &asks, run))
        })?;
        self.read_first_where_short(run, precision, &asks, unread)?;
        run.timing.load += self.with_room(run.order.run, Role::Denoiser, |me| {
            me.sets.load_network(&spec.set, &loading(&me.compute, me.texts.as_ref(), precision, &asks, run))
        })?;
        // What was brought at once is in those seconds.
        let _at_once = self.sets.take_bringing();
        // Steps take nothing of a simulated GPU: what has no room there later has none now.
        if self.compute.simulated.is_some() {
            self.load_vae(run)?;
        }
        Ok(asks)
    }

    /// Loads the autoencoder where it is not loaded yet.
    pub(super) fn load_vae(&mut self, run: &mut Run<'_>) -> Result<(), EngineError> {
        let seconds = self.with_room(run.order.run, Role::Vae, |me| me.sets.load_vae(&me.compute, run.cancel))?;
        run.timing.load += seconds;
        let _at_once = self.sets.take_bringing();
        self.report_memory();
        Ok(())
    }

    /// Returns a stage's seconds without those in which it waited for weights that were brought when they were first
    /// asked for; those are the loading's.
    pub(super) fn without_loading(&self, timing: &mut Timing, seconds: f64) -> f64 {
        let loading = self.sets.take_bringing().as_secs_f64();
        timing.load += loading;
        seconds - loading
    }

    fn sample(&self, run: &mut Run<'_>, picture: Option<&Tensor>) -> Result<Tensor, EngineError> {
        let spec = &run.order.spec;
        let ready = self.sets.ready()?;
        let table = denoise::table(spec);
        let start = denoise::start(spec, &table, picture, self.compute.device);
        let steps = u32::try_from(start.sigmas.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let mut around = Steps::new(self, run, &ready.denoiser.residency, steps);
        // What was asked for while weights were loaded need not wait for the first step.
        around.border()?;
        let precision = self.sets.precision().unwrap_or_else(|| spec.computes_in());
        denoise::sample(spec, ready.denoiser, &table, start, ready.conditioning, precision, &mut around)
    }

    /// Keeps what the run has shown of the machine.
    fn learn(&self, run: &mut Run<'_>) -> Result<(), EngineError> {
        let (denoiser, work) = (self.sets.ready_denoiser()?, run.order.spec.work());
        let precision = self.sets.precision().unwrap_or_else(|| run.order.spec.computes_in());
        let taken: Vec<(f64, Traffic)> = run.timing.per_step.iter().copied().zip(run.traffic.iter().cloned()).skip(run.settled()).collect();
        let (walk, streamed) = (denoiser.walk(work), denoiser.residency.plan().streamed().len());
        let beyond = account::most_beyond(self.sets.all_on(self.compute.id), &self.compute);
        run.learned = self.speeds.learn(precision, speeds::Steps { walk, walks: work.walks, streamed, taken: &taken, beyond });
        run.walk = Some(walk);
        Ok(())
    }

    fn picture_latent(&self, spec: &JobSpec, warnings: &mut Vec<String>) -> Result<Option<Tensor>, EngineError> {
        let Some(picture) = autoencoder::read_init(spec)? else { return Ok(None) };
        let vae = self.sets.vae()?;
        let encode = |cut| autoencoder::encode_picture(vae, spec.set.family.latent_space(), &picture, cut, &self.compute);
        let latent = self.whole_or_tiled(spec, warnings, encode)?;
        if latent.is_none() {
            warnings.push("the autoencoder has no encoder, so --init-image was not used".to_owned());
        }
        Ok(latent)
    }

    /// Runs a stage and returns its seconds too.
    pub(super) fn timed<T>(&mut self, role: Role, work: impl FnOnce(&mut Self) -> Result<T, EngineError>) -> Result<(T, f64), EngineError> {
        let began = Instant::now();
        // What a failed stage leaves behind is dropped or loaded again: nothing half-made is used.
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        let value = self.unwound(role, result)?;
        self.compute.synchronize();
        Ok((value, began.elapsed().as_secs_f64()))
    }

    pub(super) fn guarded<T>(&self, role: Role, work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
        let result = catch_unwind(AssertUnwindSafe(work));
        self.unwound(role, result)
    }

    /// Turns what unwound into an error that names the block. libtorch's plain operators unwind where they fail.
    fn unwound<T>(&self, role: Role, result: std::thread::Result<Result<T, EngineError>>) -> Result<T, EngineError> {
        result.unwrap_or_else(|payload| {
            let text = panic_text(payload.as_ref());
            Err(EngineError::from_torch_text(&text, self.compute.id, &self.sets.place(role)))
        })
    }

    fn finished(&self, mut run: Run<'_>, images: Vec<ImageRecord>) -> Finished {
        self.verify(&mut run);
        let settled = run.traffic.get(run.settled()..).filter(|steps| !steps.is_empty()).unwrap_or(&run.traffic);
        let typical = Traffic::typical(settled);
        let placement = Placement {
            asked: self.sets.asked(),
            measured: self.sets.measured(),
            streamed_bytes_per_step: typical.bytes(),
            streamed_over: typical.by_link(),
            staging: self.sets.staging(),
            stalled_s_per_step: typical.stalled,
            // A forecast is for one plan.
            predicted: run.predicted.filter(|_| run.moved_at.is_none()),
            parts: self.sets.placements(run.traffic.iter().map(Traffic::bytes).sum()),
        };
        let precision = self.sets.precision().unwrap_or_else(|| run.order.spec.computes_in());
        Finished {
            run: run.order.run,
            images,
            timing: run.timing,
            placement,
            precision: precision.name().to_owned(),
            warnings: run.warnings,
            learned: run.learned,
            walk: run.walk,
        }
    }

    /// Tells the operator of something at once.
    pub(super) fn warn(&self, run: RunId, text: &str) {
        tracing::warn!(run = run.0, "{text}");
        self.reporter.report(Report::Notice { run, level: "warn".to_owned(), text: text.to_owned() });
    }

    /// Says in words who holds what of the device that computes.
    pub(super) fn ledger(&self) -> String {
        let device = self.compute.id;
        let mut parts: Vec<String> = self.sets.holders(device).into_iter().map(|(role, bytes)| format!("{bytes} {role}")).collect();
        parts.extend(self.others_in_words());
        let beyond = self.account.beyond(self.sets.all_on(device), &self.compute);
        parts.extend(beyond.map(|bytes| format!("{bytes} beyond weights")));
        format!("{device} holds {}; {}", parts.join(", "), self.keeper.borrow().told(&self.compute))
    }

    /// Compares what was asked of each device with what plans put there, and that with what is there; tells the operator where that
    /// is not the same.
    fn verify(&self, run: &mut Run<'_>) {
        let broken = |(role, asked, measured): (Role, Vec<Share>, Vec<Share>)| {
            verify::broken(self.compute.id, &asked, &measured).into_iter().map(move |line| format!("{role}: {line}"))
        };
        let unkept = self.sets.by_part().into_iter().flat_map(broken);
        for text in self.sets.misses().into_iter().chain(unkept) {
            if !run.warnings.contains(&text) {
                self.warn(run.order.run, &text);
                run.warnings.push(text);
            }
        }
    }

    pub(super) fn phase(&self, run: RunId, phase: Phase) {
        self.reporter.report(Report::Phase { run, phase });
    }

    pub(super) fn report_memory(&self) {
        // What blocks pass through is no weight that stays.
        let weights = self.sets.all_on(self.compute.id) - self.sets.all_staging();
        let activations = self.account.beyond(weights, &self.compute);
        let simulated = self.compute.simulated.as_ref().map(|s| s.held()).unwrap_or_default();
        self.reporter.report(Report::Memory(Memory { sets: self.sets.views(), activations, simulated }));
    }
}

pub(super) fn failed_run(run: RunId, error: &EngineError) -> FailedRun {
    let refusal = Refusal::from(error);
    FailedRun { run, kind: refusal.kind, message: refusal.message, hint: refusal.hint, fatal: error.is_fatal() }
}
