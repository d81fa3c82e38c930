//! The conversions of one call: some at once, each with its progress, and all together.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::backup;
use super::cache::links;
use super::convert::{failed, tell_of};
use super::quality::Made;
use crate::cache::{Item, Manifest, Store, outside};
use crate::cli::context::Context;
use crate::cli::conversions::ConvertArgs;
use crate::cli::output::{self, plain};
use crate::cli::report;
use crate::conversion::{self, Aside, ConversionError, Outcome, Watch, Wish};
use crate::library::Roots;
use crate::quant::precision::Target;
use crate::units::{Bytes, Clock, SystemClock};
use crate::workflow::{Kind, Refusal};

/// How often a line of JSON tells of progress.
const BEAT: Duration = Duration::from_secs(1);

/// One thing to one precision.
#[derive(Debug, Clone)]
pub(super) struct Task {
    name: String,
    source: Result<PathBuf, Refusal>,
    target: Target,
}

impl Task {
    /// Returns it.
    pub(super) fn new(name: &str, source: &Result<PathBuf, Refusal>, target: &Target) -> Self {
        Self { name: name.to_owned(), source: source.clone(), target: target.clone() }
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    done: u64,
    all: u64,
    is_over: bool,
}

/// The conversions of one call.
pub(super) struct Batch<'a> {
    context: &'a Context,
    args: &'a ConvertArgs,
    roots: &'a Roots,
    stop: &'a AtomicBool,
    backup: Option<&'a Store>,
    tasks: Vec<Task>,
    shares: Mutex<Vec<Share>>,
    bars: MultiProgress,
    together: ProgressBar,
    begun: Instant,
}

/// What came of a task.
type Ended = Result<Option<Made>, Refusal>;

impl<'a> Batch<'a> {
    /// Returns what is to be done.
    pub(super) fn new(
        context: &'a Context,
        args: &'a ConvertArgs,
        roots: &'a Roots,
        (stop, backup): (&'a AtomicBool, Option<&'a Store>),
        tasks: Vec<Task>,
    ) -> Self {
        let bars = MultiProgress::new();
        // One alone has a line of its own, which says all.
        let is_shown = tasks.len() > 1 && !context.output.json;
        let together = if is_shown { bars.add(ProgressBar::new(0)) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{msg}  {bar:20}  {bytes} of {total_bytes} read, {eta} left");
        let together = match style {
            Ok(style) if is_shown => together.with_style(style),
            _ => together,
        };
        // What is not begun counts only where all are told of together.
        let is_told = is_shown || args.progress;
        let share = |task: &Task| Share { all: if is_told { size(task) } else { 0 }, ..Share::default() };
        let shares = Mutex::new(tasks.iter().map(share).collect());
        Self { context, args, roots, stop, backup, tasks, shares, bars, together, begun: Instant::now() }
    }

    /// Does all; one that fails does not keep the others. Returns the code of the first that failed, and what was made.
    pub(super) fn run(&self) -> Result<(u8, Vec<Made>), Refusal> {
        let at_once = usize::from(self.args.jobs).clamp(1, self.tasks.len().max(1));
        let next = AtomicUsize::new(0);
        let ended: Mutex<Vec<Option<Ended>>> = Mutex::new(self.tasks.iter().map(|_| None).collect());
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some((n, task)) = self.take(&next) {
                        let done = self.one(n, task, at_once);
                        self.told(task, &done);
                        self.over(n);
                        ended.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(done);
                    }
                });
            }
        });
        self.together.finish_and_clear();
        let (mut code, mut made) = (0, Vec::new());
        for done in ended.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten() {
            match done {
                Ok(result) => made.extend(result),
                Err(refusal) if refusal.kind == Kind::Interrupted => return Err(refusal),
                Err(refusal) => code = if code == 0 { refusal.kind.exit_code() } else { code },
            }
        }
        // Whoever said stop between two conversions has stopped them, too.
        if self.stop.load(Ordering::Relaxed) { Err(ConversionError::Cancelled.into()) } else { Ok((code, made)) }
    }

    fn take(&self, next: &AtomicUsize) -> Option<(usize, &Task)> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let n = next.fetch_add(1, Ordering::Relaxed);
        Some((n, self.tasks.get(n)?))
    }

    fn told(&self, task: &Task, done: &Ended) {
        let Err(refusal) = done else { return };
        if refusal.kind == Kind::Interrupted {
            return;
        }
        self.bars.suspend(|| {
            if self.context.output.json {
                output::json(&failed(&task.name, &task.target, refusal));
            }
            // The code is that of the first in their order, whichever ends first.
            let _code = report::report(refusal);
        });
    }

    /// Converts one thing to one precision.
    fn one(&self, n: usize, task: &Task, at_once: usize) -> Ended {
        let Self { context, args, roots, stop, backup, .. } = *self;
        let (source, target) = (task.source.as_ref().map_err(Refusal::clone)?, &task.target);
        let bar = self.bar(source, target);
        let begun = Instant::now();
        let folder = args.output.as_ref().map(|folder| context.environment.absolute(folder));
        let (floor, now) = (context.settings.disk_floor.value, SystemClock.now());
        let wish = Wish { source, part: args.part, target: target.clone(), folder: folder.as_deref(), roots, floor, backup, now };
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (args.threads.map_or(processors, usize::from) / at_once).max(1);
        let pace = Mutex::new(Pace::default());
        let tell = |done: Bytes, all: Bytes| {
            bar.set_length(all.0);
            bar.set_position(done.0);
            self.share(n, done, all);
            let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(left_s) = pace.told(done, all)
                && args.progress
                && context.output.json
            {
                self.line(source, target, (done, all), left_s);
            }
        };
        let watch = Watch { stop, tell: &tell, threads };
        let aside = |aside: Aside<'_>| self.bars.suspend(|| report::note(&said(&aside)));
        let done = conversion::convert(&wish, watch, aside);
        bar.finish_and_clear();
        let outcome = done.map_err(|error| if stop.load(Ordering::Relaxed) { ConversionError::Cancelled } else { error })?;
        let view = outcome.view(source, target, begun.elapsed().as_secs_f64());
        self.bars.suspend(|| tell_of(context, &view));
        match outcome {
            Outcome::Converted { path, manifest, .. } | Outcome::Restored { path, manifest } | Outcome::Cached { path, manifest } => {
                if folder.is_some() {
                    // A list that lacks it is no reason to say that it was not made.
                    drop(outside::note(&links(context), &path));
                }
                if args.backup {
                    self.keep(&path, &manifest)?;
                }
                Ok(Some(Made { name: target.to_string(), path, bytes: manifest.bytes, rel_l2: Some(manifest.error.rel_l2_mean) }))
            }
            // It is the source itself.
            Outcome::Skipped { .. } => Ok(None),
        }
    }

    /// Copies a result into the back-up. Where that fails, the result is there all the same.
    fn keep(&self, path: &Path, manifest: &Manifest) -> Result<(), Refusal> {
        let Some(store) = self.backup else { return Ok(()) };
        match backup::save(self.context, store, path, manifest, self.stop) {
            Ok(_) => Ok(()),
            Err(ConversionError::Cancelled) => Err(ConversionError::Cancelled.into()),
            Err(error) => {
                self.bars.suspend(|| report::note(&format!("warning: {error}; `perilune cache backup` tries again")));
                Ok(())
            }
        }
    }

    fn bar(&self, source: &Path, target: &Target) -> ProgressBar {
        let bar = bar(self.context, source, target);
        // Above the line about all.
        match (self.context.output.json, self.tasks.len() > 1) {
            (true, _) => bar,
            (false, true) => self.bars.insert_before(&self.together, bar),
            (false, false) => self.bars.add(bar),
        }
    }

    fn share(&self, n: usize, done: Bytes, all: Bytes) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares[n] = Share { done: done.0, all: all.0, is_over: false };
        self.shown(&shares);
    }

    fn over(&self, n: usize) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares[n].done = shares[n].all;
        shares[n].is_over = true;
        self.shown(&shares);
    }

    fn shown(&self, shares: &[Share]) {
        let over = shares.iter().filter(|share| share.is_over).count();
        self.together.set_message(format!("{over} of {} conversions", shares.len()));
        self.together.set_length(shares.iter().map(|share| share.all).sum());
        self.together.set_position(shares.iter().map(|share| share.done).sum());
    }

    /// Prints how far one is, and all together.
    fn line(&self, source: &Path, target: &Target, (done, bytes): (Bytes, Bytes), left_s: f64) {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (read, whole): (u64, u64) = (shares.iter().map(|s| s.done).sum(), shares.iter().map(|s| s.all).sum());
        let all_left_s = self.begun.elapsed().as_secs_f64() * whole.saturating_sub(read) as f64 / read.max(1) as f64;
        let over = shares.iter().filter(|share| share.is_over).count();
        output::json(&json!({
            "source": source, "to": target.to_string(), "status": "converting", "done": done, "bytes": bytes, "left_s": left_s,
            "all": {"conversions": shares.len(), "over": over, "done": read, "bytes": whole, "left_s": all_left_s},
        }));
    }
}

/// How fast one conversion goes, what an earlier try had done left out.
#[derive(Debug, Default)]
struct Pace {
    first: Option<(Instant, u64)>,
    told: Option<Instant>,
}

impl Pace {
    /// Takes in how far it is; returns the seconds that are left, if it is time to tell of it.
    fn told(&mut self, done: Bytes, all: Bytes) -> Option<f64> {
        let now = Instant::now();
        let (since, before) = *self.first.get_or_insert((now, done.0));
        let read = done.0.saturating_sub(before);
        if read == 0 || self.told.is_some_and(|told| now.duration_since(told) < BEAT) {
            return None;
        }
        self.told = Some(now);
        Some(now.duration_since(since).as_secs_f64() * all.0.saturating_sub(done.0) as f64 / read as f64)
    }
}

/// Returns about how much is read for a task, before it is begun; nothing where that cannot be told.
fn size(task: &Task) -> u64 {
    let path = task.source.as_ref().ok();
    path.and_then(|path| conversion::sizes(path, &[]).ok()).map_or(0, |sizes| sizes.bytes.0)
}

fn said(aside: &Aside<'_>) -> String {
    match aside {
        Aside::Waiting(path) => format!("waiting: another process makes {}", path.display()),
        Aside::NoBackup(error) => format!("the back-up was of no help: {error}"),
        Aside::Gone(Item { path, bytes, .. }) => format!("removed to make room: {}, {bytes}", path.display()),
    }
}

pub(super) fn bar(context: &Context, source: &Path, target: &Target) -> ProgressBar {
    if context.output.json {
        return ProgressBar::hidden();
    }
    // Without a terminal the library shows nothing.
    let style = ProgressStyle::with_template("{msg}  {bar:20}  {bytes} of {total_bytes} read, {binary_bytes_per_sec}, {eta} left");
    let name = plain(&source.file_name().unwrap_or_default().to_string_lossy());
    let bar = ProgressBar::new(0).with_message(format!("{name} to {target}"));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
