//! `perilune run`: submits a job, follows it, and tells what came of it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::queue::PAUSED;
use crate::cli::args::RunArgs;
use crate::cli::context::Context;
use crate::cli::output::{self, Output};
use crate::cli::{intent, report};
use crate::client::Client;
use crate::client::call::unexpected;
use crate::jobs::{JobState, JobView, Phase, Progress, WaitReason};
use crate::tui::outcome;
use crate::units::JobId;
use crate::wire::control::Topics;
use crate::wire::{Change, EngineState, EngineView, Reply, Request};
use crate::workflow::{JobDraft, Kind, Refusal};

/// How long a cancelled job is waited for: longer than the daemon waits for its engine.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// Submits the job; waits for it unless told otherwise.
pub(super) fn run(context: &Context, args: RunArgs) -> Result<u8, Refusal> {
    let held = args.held;
    let detach = args.detach || held;
    let draft = intent::draft(args, context)?;
    let output = context.output;
    context.with_daemon(|daemon| async move {
        let mut daemon = daemon;
        let job = submit(&mut daemon, draft).await?;
        if detach {
            let state = if held { JobState::Held } else { JobState::Queued };
            output.show(&json!({"job": job, "state": state}), || format!("{job}\n"));
            return Ok(0);
        }
        let mut teller = Teller::new(output, job);
        let view = follow(&mut daemon, job, &mut teller).await.map_err(|unfinished| {
            teller.end();
            if let Unfinished::Ended(view) = &unfinished {
                tell(output, view);
            }
            Refusal::from(unfinished)
        })?;
        teller.end();
        conclude(output, &view)
    })
}

/// Submits a job, tells how far it is, and returns it once it is done.
pub(super) fn finished(context: &Context, draft: JobDraft) -> Result<JobView, Refusal> {
    let output = context.output;
    let view = context.with_daemon(|daemon| async move {
        let mut daemon = daemon;
        let job = submit(&mut daemon, draft).await?;
        let mut teller = Teller::new(output, job);
        let view = follow(&mut daemon, job, &mut teller).await?;
        teller.end();
        Ok(view)
    })?;
    verdict(&view).map(|_| view)
}

/// Submits a job and returns its number.
pub(super) async fn submit(daemon: &mut Client, draft: JobDraft) -> Result<JobId, Refusal> {
    match daemon.call(Request::Submit(Box::new(draft))).await? {
        Reply::Accepted(job) => Ok(job),
        reply => Err(unexpected(&reply)),
    }
}

/// Why a job was not waited for until it ended by itself.
enum Unfinished {
    /// It was interrupted, and ended so.
    Ended(Box<JobView>),
    /// It was interrupted, and nobody waited for its end.
    Left(JobId),
    /// Anything else.
    Refused(Refusal),
}

impl From<Refusal> for Unfinished {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unfinished> for Refusal {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Ended(view) if view.state == JobState::Cancelled => interrupted(view.job),
            Unfinished::Ended(view) => {
                let message = format!("job {} was {} before it could be cancelled", view.job, view.state);
                Self::new(Kind::Interrupted, message, format!("`perilune queue show {}` tells of it", view.job))
            }
            Unfinished::Left(job) => interrupted(job),
            Unfinished::Refused(refusal) => refusal,
        }
    }
}

/// Waits until the job is finished. Ctrl-C cancels it.
async fn follow(daemon: &mut Client, job: JobId, teller: &mut Teller) -> Result<JobView, Unfinished> {
    let topics = Topics { job: Some(job), ..Topics::default() };
    match daemon.call(Request::Subscribe(topics)).await? {
        Reply::Done => {}
        reply => return Err(unexpected(&reply).into()),
    }
    loop {
        tokio::select! {
            event = daemon.event() => if let Some(view) = teller.take(event?.change)? { return Ok(view) },
            interrupted = tokio::signal::ctrl_c() => if interrupted.is_ok() { break },
        }
    }
    teller.note("cancelling; Ctrl-C again does not wait");
    tokio::select! {
        ended = tokio::time::timeout(CANCEL_PATIENCE, cancel(daemon, job, teller)) => match ended {
            // Finished in the last moment, or cancelled: either way we were interrupted.
            Ok(Ok(view)) => Err(Unfinished::Ended(Box::new(view))),
            Ok(Err(error)) => Err(Unfinished::Refused(error)),
            Err(_) => Err(Unfinished::Left(job)),
        },
        _ = tokio::signal::ctrl_c() => Err(Unfinished::Left(job)),
    }
}

/// Cancels the job and returns it as it ended.
async fn cancel(daemon: &mut Client, job: JobId, teller: &mut Teller) -> Result<JobView, Refusal> {
    match daemon.call(Request::Cancel(vec![job])).await {
        Err(refusal) if refusal.kind != Kind::Refused => return Err(refusal),
        // It was finished in the last moment: how, we are about to hear.
        Ok(_) | Err(_) => {}
    }
    loop {
        if let Some(view) = teller.take(daemon.event().await?.change)? {
            return Ok(view);
        }
    }
}

fn interrupted(job: JobId) -> Refusal {
    Refusal::new(Kind::Interrupted, format!("job {job} was cancelled"), format!("`perilune queue retry {job}` tries it again"))
}

/// Tells what came of a job, in the line that programs wait for.
fn tell(output: Output, view: &JobView) {
    output.show(&last_line(view), || view.images.iter().map(|i| i.path.display().to_string() + "\n").collect());
}

/// Tells of the end; returns the exit code.
pub(super) fn conclude(output: Output, view: &JobView) -> Result<u8, Refusal> {
    tell(output, view);
    if let Some(placement) = view.placement.as_ref().filter(|placement| !output.json && placement.asked.len() > 1) {
        let told = outcome::kept(placement).into_iter().chain(outcome::pace(placement, view.timing.as_ref()));
        told.for_each(|(name, value)| report::note(&format!("{name}: {value}")));
    }
    for warning in &view.warnings {
        report::note(&format!("warning: {warning}"));
    }
    verdict(view)
}

/// Returns how a finished job ended.
fn verdict(view: &JobView) -> Result<u8, Refusal> {
    match (view.state, &view.failure) {
        (JobState::Done, _) => Ok(0),
        (JobState::Cancelled, _) => {
            let hint = format!("`perilune queue retry {}` tries it again", view.job);
            Err(Refusal::new(Kind::Failed, format!("job {} was cancelled by somebody else", view.job), hint))
        }
        (_, Some(failure)) => {
            for line in failure.log.iter().rev().take(10).rev() {
                report::note(&format!("engine: {line}"));
            }
            Err(Refusal { kind: failure.kind, message: failure.message.clone(), hint: failure.hint.clone() })
        }
        (_, None) => Err(Refusal::bare(Kind::Failed, format!("job {} ended as {}", view.job, view.state))),
    }
}

fn last_line(view: &JobView) -> Value {
    json!({
        "job": view.job, "state": view.state, "images": view.images, "timing": view.timing, "placement": view.placement,
        "precision": view.precision, "warnings": view.warnings, "failure": view.failure,
    })
}

/// Tells how far the job is: a bar on a terminal, lines elsewhere, JSON for programs.
struct Teller {
    output: Output,
    job: JobId,
    bar: Option<ProgressBar>,
    last: Option<String>,
    said: Option<String>,
    phase: Option<Phase>,
}

impl Teller {
    fn new(output: Output, job: JobId) -> Self {
        let bar = (!output.json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg:24} [{bar:32}] {pos}/{len} {prefix}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar
        });
        Self { output, job, bar, last: None, said: None, phase: None }
    }

    /// Takes in a change; returns the job once it is finished.
    fn take(&mut self, change: Change) -> Result<Option<JobView>, Refusal> {
        match change {
            Change::Snapshot(status) => {
                self.engines(&status.engines);
                return match status.queue.jobs.into_iter().find(|v| v.job == self.job) {
                    Some(view) => Ok(self.job(view)),
                    None => Err(self.gone()),
                };
            }
            Change::Job(view) => return Ok(self.job(*view)),
            Change::Progress { progress, .. } => self.progress(progress),
            Change::Engines(engines) => self.engines(&engines),
            Change::Gone(_) => return Err(self.gone()),
            // How the job ends is told at the end.
            Change::Notice(notice) if notice.level == "fail" && notice.job == Some(self.job) => {}
            Change::Notice(notice) if notice.level != "info" => self.say(&notice.text),
            Change::Notice(_)
            | Change::Preview(_)
            | Change::Devices { .. }
            | Change::Queue { .. }
            | Change::Sets(_)
            | Change::Conversions(_)
            | Change::Log(_) => {}
        }
        Ok(None)
    }

    fn gone(&self) -> Refusal {
        Refusal::bare(Kind::NotFound, format!("job {} was forgotten while it was waited for", self.job))
    }

    fn job(&mut self, view: JobView) -> Option<JobView> {
        if view.state.is_final() {
            return Some(view);
        }
        let text = match &view.reason {
            Some(reason) => format!("{} ({reason})", view.state),
            None => view.state.to_string(),
        };
        // Progress is told as it comes, states once they are on the disk: who has read that it loads knows that it runs.
        let was_paused = self.last.as_ref().is_some_and(|last| last.starts_with(JobState::Paused.name()));
        let is_known = view.state == JobState::Running && self.phase.is_some() && !was_paused;
        if self.last.as_ref() != Some(&text) {
            if self.output.json {
                output::json(&json!({"job": self.job, "state": view.state, "reason": view.reason}));
            } else if is_known {
                // Nothing is left to tell.
            } else if let Some(bar) = &self.bar {
                bar.set_message(text.clone());
            } else {
                report::note(&format!("job {} {text}", self.job));
            }
            self.last = Some(text);
        }
        if view.state == JobState::Queued && view.reason == Some(WaitReason::Operator) {
            self.say(PAUSED);
        }
        None
    }

    fn progress(&mut self, progress: Progress) {
        if self.output.json {
            let eta_s = progress.eta_s();
            let Progress { phase, step, steps, step_s } = progress;
            output::json(&json!({"job": self.job, "phase": phase, "step": step, "steps": steps, "step_s": step_s, "eta_s": eta_s}));
        } else if let Some(bar) = &self.bar {
            bar.set_length(u64::from(progress.steps));
            bar.set_position(u64::from(progress.step));
            bar.set_message(progress.phase.to_string());
            bar.set_prefix(progress.eta_s().map_or_else(String::new, |s| format!("{s:.0} s left")));
        } else if self.phase != Some(progress.phase) {
            report::note(&format!("job {} {}", self.job, progress.phase));
        }
        self.phase = Some(progress.phase);
    }

    fn engines(&mut self, engines: &[EngineView]) {
        for engine in engines.iter().filter(|e| matches!(e.state, EngineState::Broken | EngineState::Backoff)) {
            let why = engine.last_exit.clone().unwrap_or_else(|| "cannot be started".to_owned());
            self.say(&format!("engine of {}: {why}", engine.device));
        }
    }

    /// Says something once.
    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            self.note(text);
            self.said = Some(text.to_owned());
        }
    }

    fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| report::note(text)),
            None => report::note(text),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
