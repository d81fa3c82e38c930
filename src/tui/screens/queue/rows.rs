//! Jobs as rows: what they are, how far they are, why they wait, when they will be done.

use ratatui::text::{Line, Span};

use crate::devices::SIMULATED;
use crate::jobs::{JobState, JobView, Phase, WaitReason};
use crate::theme::Role;
use crate::tui::action::{Action, JobVerb};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::screens::Screen;
use crate::tui::widgets::bar;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line::{self, piece};
use crate::tui::wording;
use crate::tui::{estimates, taking_back};
use crate::units::JobId;
use crate::wire::ConversionView;

/// The columns of the queue.
pub const FULL: &[Column] = &[
    Column { title: "  ID", min: 6, grow: 0, side: Side::Right, keep: 10 },
    Column { title: "PRI", min: 3, grow: 0, side: Side::Right, keep: 2 },
    Column { title: "SET", min: 12, grow: 1, side: Side::Left, keep: 8 },
    Column { title: "STATE", min: 9, grow: 0, side: Side::Left, keep: 9 },
    Column { title: "PROGRESS", min: 18, grow: 3, side: Side::Left, keep: 9 },
    Column { title: "s/it", min: 5, grow: 0, side: Side::Right, keep: 4 },
    Column { title: "ETA", min: 7, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "DEVICE", min: 7, grow: 0, side: Side::Left, keep: 3 },
    Column { title: "OWNER", min: 6, grow: 0, side: Side::Left, keep: 1 },
    Column { title: "PROMPT", min: 12, grow: 4, side: Side::Left, keep: 5 },
];

/// The columns of the overview's panel.
pub const BRIEF: &[Column] = &[
    Column { title: "  ID", min: 6, grow: 0, side: Side::Right, keep: 10 },
    Column { title: "SET", min: 10, grow: 1, side: Side::Left, keep: 8 },
    Column { title: "STATE", min: 9, grow: 0, side: Side::Left, keep: 9 },
    Column { title: "PROGRESS", min: 16, grow: 4, side: Side::Left, keep: 9 },
    Column { title: "s/it", min: 5, grow: 0, side: Side::Right, keep: 3 },
    Column { title: "ETA", min: 7, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "OWNER", min: 6, grow: 0, side: Side::Left, keep: 2 },
];
const FULL_PROGRESS: usize = 4;
const BRIEF_PROGRESS: usize = 3;

/// Returns what to say of the queue as a whole, beside its title.
#[must_use]
pub fn note(model: &Model) -> String {
    let mut parts: Vec<String> = Vec::new();
    if model.known.paused {
        let key = model.options.keys.said(Layer::Jobs, Action::Job(JobVerb::PauseQueue));
        parts.push(format!("paused: no job starts until {key}"));
    }
    if !model.queue.filter.is_empty() {
        parts.push(format!("filter: {}", model.queue.filter.input.value().trim()));
    }
    if !model.queue.marked.is_empty() {
        parts.push(format!("{} marked", model.queue.marked.len()));
    }
    // Those that a job waits for are seen in its row.
    let asked_for = model.known.conversions.iter().filter(|c| c.jobs.is_empty());
    parts.extend(asked_for.map(|c| format!("converting {} to {}{}", wording::file_name(&c.source), c.to, how_far(c))));
    let unseen = model.known.unseen_waiting();
    if unseen > 0 && model.queue.filter.is_empty() {
        parts.push(format!("{unseen} more wait"));
    } else if unseen > 0 {
        parts.push(format!("{} not searched", taking_back::more_wait(unseen)));
    }
    parts.join(", ")
}

/// Returns how far a conversion is, in a few letters behind its name.
fn how_far(conversion: &ConversionView) -> String {
    let percent = conversion.ratio() * 100.0;
    match (conversion.paused, conversion.running) {
        (true, _) if conversion.done.get() > 0 => format!(" {percent:.0}%, paused"),
        (true, _) => " paused".to_owned(),
        (false, true) => match conversion.left_s() {
            Some(left) => format!(" {percent:.0}%, {} left", wording::countdown(left)),
            None => format!(" {percent:.0}%"),
        },
        (false, false) => " waits".to_owned(),
    }
}

/// Returns the sentence that stands where no job is shown.
#[must_use]
pub fn empty(model: &Model) -> String {
    let keys = &model.options.keys;
    if model.known.jobs.is_empty() {
        format!("The queue is empty. {} opens the Run form.", keys.said(Layer::Queue, Action::GoTo(Screen::Compose)))
    } else {
        let unseen = match model.known.unseen_waiting() {
            0 => String::new(),
            unseen => format!(" {} not searched: perilune queue list shows all.", taking_back::more_wait(unseen)),
        };
        format!("No job is like that.{unseen} {} drops the filter.", keys.said(Layer::Queue, Action::Back))
    }
}

/// Returns when jobs will be done, by number. While the queue is paused nobody can say when what waits will be.
#[must_use]
pub fn estimates(model: &Model) -> Vec<(JobId, Option<f64>)> {
    let known = &model.known;
    let begins = |job: &JobView| !(known.paused && job.state == JobState::Queued);
    let remaining = known.jobs.iter().zip(estimates::remaining(&known.jobs));
    remaining.map(|(job, seconds)| (job.job, seconds.filter(|_| begins(job)))).collect()
}

/// Returns a row of the overview's panel.
#[must_use]
pub fn brief(model: &Model, job: &JobView, estimates: &[(JobId, Option<f64>)], grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    let cells = vec![
        id(model, job, paint),
        line::text(paint, Role::Text, &job.spec.set.name),
        state(job, paint),
        Line::default(),
        pace(job, paint),
        eta(job, estimates, paint),
        line::text(paint, Role::Dim, &job.spec.owner),
    ];
    row(model, job, grid, cells, BRIEF_PROGRESS, paint)
}

/// Returns a row of the queue.
#[must_use]
pub fn full(model: &Model, job: &JobView, estimates: &[(JobId, Option<f64>)], grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    let spec = &job.spec;
    // The device's column is narrow.
    let simulated = spec.compute.is_simulated().then(|| line::text(paint, Role::Warn, SIMULATED));
    let cells = vec![
        id(model, job, paint),
        line::text(paint, Role::Dim, spec.priority.to_string()),
        line::text(paint, Role::Text, &spec.set.name),
        state(job, paint),
        Line::default(),
        pace(job, paint),
        eta(job, estimates, paint),
        line::text(paint, Role::Dim, spec.compute.to_string()),
        line::text(paint, Role::Dim, &spec.owner),
        line::join(simulated.into_iter().chain([line::text(paint, Role::Dim, &spec.prompt)]), 1),
    ];
    row(model, job, grid, cells, FULL_PROGRESS, paint)
}

/// Puts the progress in. Where it is words it may use the columns of pace and time that stay empty.
fn row(model: &Model, job: &JobView, grid: &Grid<'_>, mut cells: Vec<Line<'static>>, at: usize, paint: &Paint) -> Line<'static> {
    let words = progress(model, job, grid.width(at), paint);
    if line::width(&cells[at + 1]) == 0 && line::width(&cells[at + 2]) == 0 {
        return grid.row_across(cells, at..=at + 2, words, paint);
    }
    cells[at] = words;
    grid.row(cells, paint)
}

fn id(model: &Model, job: &JobView, paint: &Paint) -> Line<'static> {
    let marked = model.queue.marked.contains(&job.job);
    let mark = if marked { piece(paint, Role::Key, paint.glyphs.marked) } else { Span::raw("") };
    Line::from(vec![mark, piece(paint, Role::Text, job.job.to_string())])
}

/// Returns a job's state in one word.
#[must_use]
pub fn state(job: &JobView, paint: &Paint) -> Line<'static> {
    let (word, role) = match job.state {
        JobState::Queued => ("wait", Role::Text),
        JobState::Held => ("held", Role::Warn),
        JobState::Running | JobState::Paused if job.cancelling => ("stopping", Role::Warn),
        JobState::Running => ("run", Role::Ok),
        JobState::Paused => ("paused", Role::Warn),
        JobState::Done => ("done", Role::Dim),
        JobState::Failed => ("FAILED", Role::Crit),
        JobState::Cancelled => ("cancelled", Role::Dim),
    };
    line::text(paint, role, word)
}

/// Returns how far a job is, or why it is no further.
fn progress(model: &Model, job: &JobView, columns: u16, paint: &Paint) -> Line<'static> {
    match job.state {
        JobState::Running | JobState::Paused => running(job, columns, paint),
        JobState::Queued if job.reason == Some(WaitReason::Converting) && job.progress.is_some() => running(job, columns, paint),
        JobState::Queued => line::text(paint, Role::Dim, job.reason.as_ref().map_or_else(String::new, |r| reason(model, job, r))),
        JobState::Held => {
            let key = model.options.keys.said(Layer::Jobs, Action::Job(JobVerb::Hold));
            line::text(paint, Role::Dim, format!("by operator; {key} releases it"))
        }
        JobState::Done => {
            let took = job.timing.as_ref().map(|t| format!(", {}", wording::measured(t.total))).unwrap_or_default();
            line::text(paint, Role::Dim, format!("{}{took}", wording::count(job.images.len() as u64, "image")))
        }
        JobState::Failed => line::text(paint, Role::Crit, job.failure.as_ref().map_or("", |f| f.message.as_str())),
        JobState::Cancelled => Line::default(),
    }
}

fn running(job: &JobView, columns: u16, paint: &Paint) -> Line<'static> {
    let Some(progress) = job.progress else { return line::text(paint, Role::Dim, "starting") };
    let steps = format!(" {}/{}", progress.step, progress.steps);
    let words = match progress.phase {
        Phase::Sampling => steps,
        Phase::Converting => format!(" converting {}%", progress.step),
        phase @ (Phase::Starting | Phase::Loading | Phase::Encoding | Phase::Decoding | Phase::Saving) => {
            format!(" {phase}")
        }
    };
    let room = columns.saturating_sub(wording::width(&words) as u16);
    let mut bar = bar::share(paint, Role::Bar, progress.ratio(), room);
    bar.spans.push(piece(paint, Role::Text, words));
    bar
}

/// Returns why a job waits.
fn reason(model: &Model, job: &JobView, reason: &WaitReason) -> String {
    match reason {
        WaitReason::After(other) => format!("after {other}"),
        WaitReason::Operator if model.known.paused => "the queue is paused".to_owned(),
        WaitReason::Operator => "by operator".to_owned(),
        WaitReason::Engine => format!("engine of {} starts", job.spec.compute),
        WaitReason::Device => format!("{} does not answer", job.spec.compute),
        WaitReason::Converting => {
            let conversion = model.known.conversions.iter().find(|c| c.jobs.contains(&job.job));
            let is_paused = conversion.is_some_and(|c| c.paused);
            let key = || model.options.keys.said(Layer::Jobs, Action::Job(JobVerb::PauseConversions));
            if is_paused { format!("conversion paused; {} lets it go on", key()) } else { "to be converted".to_owned() }
        }
        WaitReason::Disk => "the disk is full".to_owned(),
    }
}

fn pace(job: &JobView, paint: &Paint) -> Line<'static> {
    let step = job.progress.and_then(|p| p.step_s).filter(|_| job.state.is_active());
    line::text(paint, Role::Text, step.map_or_else(String::new, wording::seconds))
}

fn eta(job: &JobView, estimates: &[(JobId, Option<f64>)], paint: &Paint) -> Line<'static> {
    let eta = estimates.iter().find(|(id, _)| *id == job.job).and_then(|(_, eta)| *eta);
    let guess = if job.state == JobState::Queued { "~" } else { "" };
    line::text(paint, Role::Text, eta.map_or_else(String::new, |s| format!("{guess}{}", wording::countdown(s))))
}
