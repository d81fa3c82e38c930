//! `perilune queue`: lists, shows and changes jobs.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{queue_move, queue_save};
use crate::cli::args::QueueCommand;
use crate::cli::context::Context;
use crate::cli::offload::{offload, two_devices};
use crate::cli::output::{Lines, Output, head, plain, table};
use crate::cli::part_args::OffloadArgs;
use crate::cli::report::note;
use crate::client::call::unexpected;
use crate::client::{Client, Place};
use crate::devices::Labelled;
use crate::jobs::{JobRow, JobState, JobView};
use crate::profile::Preset;
use crate::tui::outcome;
use crate::units::{Clock, JobId, SystemClock, Timestamp};
use crate::wire::frame;
use crate::wire::{Cursor, Reply, Request, ServerFrame};
use crate::workflow::{Kind, Refusal, Whose};

/// Jobs of one page. Large enough that asking costs nothing, small enough that others get their turn.
const PAGE: u32 = 2_000;

/// What is told where nothing starts.
pub(super) const PAUSED: &str = "the queue is paused; `perilune queue resume` lets it go on";

/// Runs a command on the queue.
pub(super) fn queue(context: &Context, command: QueueCommand) -> Result<(), Refusal> {
    let output = context.output;
    match command {
        QueueCommand::List { state, limit } => context.with_daemon(|daemon| list(daemon, output, state, limit)),
        QueueCommand::Show { job } => context.with_daemon(|daemon| show(daemon, output, job)),
        QueueCommand::Cancel { jobs } => context.with_daemon(|daemon| cancel(daemon, output, jobs)),
        QueueCommand::Retry { jobs } => change(context, "queued again", Request::Retry(jobs.clone()), &jobs),
        QueueCommand::Move { job, to } => context.with_daemon(|daemon| queue_move::move_job(daemon, output, job, to)),
        QueueCommand::Rebudget { job, offload } => context.with_daemon(|daemon| rebudget(daemon, output, job, offload)),
        QueueCommand::Save { file } => {
            let file = context.environment.absolute(&file);
            let whose = whose(context);
            context.with_daemon(|daemon| async move { queue_save::save(daemon, output, &file, whose).await })
        }
        QueueCommand::Pause { job } => change(context, "paused", Request::Pause { job }, &[]),
        QueueCommand::Resume { job } => change(context, "resumed", Request::Resume { job }, &[]),
        QueueCommand::Clear { state } => context.with_daemon(|mut daemon| async move {
            match daemon.call(Request::Clear { states: state }).await? {
                Reply::Cleared(count) => {
                    output.show(&json!({"cleared": count}), || format!("{count} jobs forgotten\n"));
                    Ok(())
                }
                reply => Err(unexpected(&reply)),
            }
        }),
    }
}

/// Returns whose daemon the queue is of, where it is not that of whoever has the same home.
fn whose(context: &Context) -> Whose<'_> {
    match &context.place {
        Place::Host(host) => Whose::Host(host),
        Place::Local => context.settings.paths.in_one_folder().map_or(Whose::Theirs, Whose::Home),
    }
}

fn change(context: &Context, what: &'static str, request: Request, asked: &[JobId]) -> Result<(), Refusal> {
    let (output, asked) = (context.output, asked.to_vec());
    context.with_daemon(|mut daemon| async move {
        let changed = match daemon.call(request).await? {
            Reply::Changed(jobs) => jobs,
            reply => return Err(unexpected(&reply)),
        };
        output.show(&json!({"changed": changed}), || if changed.is_empty() { format!("{what}\n") } else { said(&changed, what) });
        let left: Vec<String> = asked.iter().filter(|j| !changed.contains(j)).map(JobId::to_string).collect();
        if left.is_empty() {
            return Ok(());
        }
        let message = format!("not {what}: {}; they are finished, or do not exist", left.join(", "));
        Err(Refusal::new(Kind::Refused, message, "`perilune queue show JOB` says which"))
    })
}

/// Has a job's weights live elsewhere. Nobody's profile has a say: the job is there already.
async fn rebudget(mut daemon: Client, output: Output, job: JobId, args: OffloadArgs) -> Result<(), Refusal> {
    let asked = offload(args, &Preset::default())?;
    asked.idle.iter().for_each(|idle| note(idle));
    if let Some((part, _)) = asked.parts.iter().next() {
        let message = format!("weights of {part} cannot move between two steps: no step uses them");
        return Err(Refusal::new(Kind::Usage, message, "rebudget the diffusion network, and give the next job flags for its parts"));
    }
    if let Some(named) = asked.compute {
        let compute = ask(&mut daemon, job).await?.spec.compute;
        if compute != named {
            return Err(two_devices(named, &format!("job {job}, which computes on {compute},")));
        }
    }
    let id = daemon.ask(Request::Rebudget { job, ask: asked.network }).await?;
    // The engine has a step to finish first, however long that takes.
    match daemon.answer_whenever(id).await? {
        Reply::Changed(changed) => {
            output.show(&json!({"changed": changed}), || said(&changed, "has its new budget"));
            Ok(())
        }
        reply => Err(unexpected(&reply)),
    }
}

/// What there was to cancel when it was asked for.
#[derive(Default)]
struct Cancelling {
    open: Vec<JobId>,
    already: Vec<JobId>,
    /// Why the others cannot be.
    too_late: Vec<String>,
    missing: Vec<JobId>,
}

/// Cancels what can be, and says of each other job why not. Whether one was cancelled before, its state tells.
async fn cancel(mut daemon: Client, output: Output, mut jobs: Vec<JobId>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    jobs.retain(|job| seen.insert(*job));
    let mut found = Cancelling::default();
    for job in jobs {
        match ask(&mut daemon, job).await {
            Ok(view) if view.cancelling || view.state == JobState::Cancelled => found.already.push(job),
            Ok(view) if view.state.is_final() => found.too_late.push(format!("job {job} is {}", view.state)),
            Ok(_) => found.open.push(job),
            Err(refusal) if refusal.kind == Kind::NotFound => found.missing.push(job),
            Err(refusal) => return Err(refusal),
        }
    }
    let changed = if found.open.is_empty() {
        Vec::new()
    } else {
        match daemon.call(Request::Cancel(found.open.clone())).await? {
            Reply::Changed(jobs) => jobs,
            reply => return Err(unexpected(&reply)),
        }
    };
    let ended = found.open.iter().filter(|job| !changed.contains(job)).map(|job| format!("job {job} has ended just now"));
    found.too_late.extend(ended);
    if !changed.is_empty() || !found.already.is_empty() {
        output.show(&json!({"changed": changed, "already": found.already}), || said(&changed, "cancelled") + &said_already(&found.already));
    }
    let late = (!found.too_late.is_empty()).then(|| format!("{}, too late to cancel", found.too_late.join(", ")));
    let missing = found.missing.iter().map(|job| format!("there is no job {job}"));
    let reasons: Vec<String> = late.into_iter().chain(missing).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let kind = if found.too_late.is_empty() && changed.is_empty() && found.already.is_empty() { Kind::NotFound } else { Kind::Refused };
    Err(Refusal::new(kind, reasons.join("; "), "`perilune queue list` shows what there is"))
}

fn said(jobs: &[JobId], what: &str) -> String {
    let listed = jobs.iter().map(JobId::to_string).collect::<Vec<_>>().join(", ");
    match jobs.len() {
        0 => String::new(),
        1 => format!("job {listed} {what}\n"),
        _ => format!("jobs {listed} {what}\n"),
    }
}

fn said_already(jobs: &[JobId]) -> String {
    said(jobs, if jobs.len() == 1 { "was cancelled already" } else { "were cancelled already" })
}

/// What is needed of a page before the next is asked for: so the daemon reads it while we write this one.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Peek {
    Reply { reply: PeekReply },
    Error(IgnoredAny),
    Event(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PeekReply {
    Rows {
        next: Option<Cursor>,
    },
    #[serde(other)]
    Other,
}

async fn list(mut daemon: Client, output: Output, states: Vec<JobState>, limit: Option<u32>) -> Result<(), Refusal> {
    let mut left = limit.unwrap_or(u32::MAX);
    let page = |after, left: u32| Request::List { states: states.clone(), after, limit: PAGE.min(left) };
    let mut listing = Listing::new(output);
    daemon.ask(page(None, left)).await?;
    loop {
        let body = daemon.next_body().await?;
        left = left.saturating_sub(PAGE);
        let next = match frame::decode(&body) {
            Ok(Peek::Reply { reply: PeekReply::Rows { next } }) => next.filter(|_| left > 0),
            Ok(Peek::Reply { reply: PeekReply::Other } | Peek::Error(_) | Peek::Event(_)) | Err(_) => None,
        };
        let more = next.is_some();
        if let Some(next) = next {
            daemon.ask(page(Some(next), left)).await?;
        }
        match frame::decode(&body) {
            Ok(ServerFrame::Reply { reply: Reply::Rows { paused, rows, .. }, .. }) => listing.rows(paused, &rows),
            Ok(ServerFrame::Reply { reply, .. }) => return Err(unexpected(&reply)),
            Ok(ServerFrame::Error { error, .. }) => return Err(error),
            Ok(ServerFrame::Event(_)) => {}
            Err(error) => return Err(Refusal::bare(Kind::NoDaemon, error.to_string())),
        }
        if !more {
            listing.end();
            return Ok(());
        }
    }
}

/// Writes rows as they come: a queue may be longer than memory is large.
struct Listing {
    output: Output,
    lines: Lines,
    now: Timestamp,
    count: usize,
}

impl Listing {
    fn new(output: Output) -> Self {
        Self { output, lines: Lines::default(), now: SystemClock.now(), count: 0 }
    }

    fn rows(&mut self, paused: bool, rows: &[JobRow]) {
        // Pages after the first say nothing new.
        if self.count == 0 && paused && !self.output.json {
            note(PAUSED);
        }
        if self.count == 0 && self.output.json {
            self.lines.text(&format!("{{\"paused\":{paused},\"jobs\":["));
        } else if self.count == 0 && !rows.is_empty() {
            self.lines.text(&format!("{:>7} {:9} {:>4} {:>5} {:20} {:10} prompt\n", "job", "state", "prio", "age", "model", "owner"));
        }
        for row in rows {
            if self.output.json {
                self.lines.text(if self.count == 0 { "" } else { "," });
                self.lines.json(row);
            } else {
                self.lines.text(&self.line(row));
            }
            self.count += 1;
        }
    }

    fn line(&self, row: &JobRow) -> String {
        let age = age(self.now.since(row.finished.unwrap_or(row.created)));
        let (model, owner, prompt) = (head(&row.model, 20), head(&row.owner, 10), head(&row.prompt, 48));
        format!("{:>7} {:9} {:>4} {age:>5} {model:20} {owner:10} {prompt}\n", row.job, row.state, row.priority)
    }

    fn end(mut self) {
        if self.output.json {
            self.lines.text("]}\n");
        } else if self.count == 0 {
            self.lines.text("no jobs; `perilune run` makes one\n");
        }
        self.lines.flush();
    }
}

/// Returns a span of time as people say it, in at most five letters.
pub(super) fn age(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7_200 => format!("{}m", s / 60),
        s @ 7_200..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// Returns one job.
pub(super) async fn ask(daemon: &mut Client, job: JobId) -> Result<Box<JobView>, Refusal> {
    match daemon.call(Request::Show(job)).await? {
        Reply::Job(view) => Ok(view),
        reply => Err(unexpected(&reply)),
    }
}

async fn show(mut daemon: Client, output: Output, job: JobId) -> Result<(), Refusal> {
    let view = ask(&mut daemon, job).await?;
    output.show(&view, || text(&view));
    Ok(())
}

fn text(view: &JobView) -> String {
    let spec = &view.spec;
    let mut rows: Vec<(&str, String)> = vec![("job", view.job.to_string()), ("state", view.state.to_string())];
    rows.extend(view.reason.as_ref().map(|r| ("waits", r.to_string())));
    rows.extend(view.progress.map(|p| ("doing", format!("{} {}/{}", p.phase, p.step, p.steps))));
    rows.extend([("model", spec.set.name.clone()), ("prompt", plain(&spec.prompt))]);
    if spec.is_readable() {
        rows.extend([
            ("negative", plain(&spec.negative)),
            ("run", format!("{} steps, cfg {}, {} {}, {}", spec.steps, spec.cfg, spec.sampler, spec.schedule, spec.size)),
            ("seed", format!("{}, batch {}", spec.seed, spec.batch)),
            ("device", Labelled(spec.compute).to_string()),
            ("output", spec.output.display().to_string()),
        ]);
        rows.extend(spec.conversion.as_ref().map(|c| {
            let result = c.result.as_ref().map_or_else(String::new, |path| format!(", {}", path.display()));
            ("stored as", format!("{}{result}", c.wish.to))
        }));
    }
    rows.extend([("owner", plain(&spec.owner)), ("attempts", view.attempts.to_string()), ("created", view.created.to_string())]);
    rows.extend(view.started.map(|t| ("started", t.to_string())));
    rows.extend(view.finished.map(|t| ("finished", t.to_string())));
    rows.extend(view.timing.as_ref().map(|t| ("took", format!("{:.2} s, of which {:.2} s sampling", t.total, t.sample))));
    rows.extend(view.placement.iter().flat_map(outcome::kept));
    rows.extend(view.placement.iter().flat_map(|placement| outcome::pace(placement, view.timing.as_ref())));
    let parts = view.placement.iter().flat_map(|p| &p.parts).filter(|part| part.is_spread());
    rows.extend(parts.map(|part| ("weights", part.told())));
    rows.extend(view.images.iter().map(|i| ("image", i.path.display().to_string())));
    rows.extend(view.warnings.iter().map(|w| ("warning", plain(w))));
    if let Some(failure) = &view.failure {
        rows.push(("failure", plain(&failure.message)));
        rows.extend(failure.hint.as_ref().map(|h| ("hint", plain(h))));
        rows.extend(failure.log.iter().map(|l| ("log", plain(l))));
    }
    table(&[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d"), (86_400 * 9_999, "9999d")] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }
}
