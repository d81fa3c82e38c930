//! What a step takes now, and what it would take; and what else follows from a wish.
//!
//! ```text
//! draft    compute 0.95 s  disk 1.83 s  step 2.10 s
//! active   compute 0.95 s  disk 0.96 s  step 1.50 s   1.48 s in job 39
//! all here does not fit: 43.4 GiB of weights stay on cuda:0, …
//! all away compute 0.95 s  disk 1.86 s  step 1.90 s to 2.81 s, assumed
//! ```

use ratatui::text::Line;

use super::{Facts, deeds, memory};
use crate::devices::SIMULATED;
use crate::jobs::JobView;
use crate::placement::{OffloadAsk, Planned};
use crate::theme::Role;
use crate::tui::action::{Action, TuneVerb};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::line;
use crate::tui::wording;
use crate::units::DeviceId;

/// Returns the rows that all of it takes.
#[must_use]
pub fn rows(facts: &Facts) -> u16 {
    3 + u16::from(facts.active.is_some())
}

/// Returns what the seconds rest on.
#[must_use]
pub fn note(facts: &Facts) -> String {
    let simulated = facts.view.compute.is_simulated().then(|| SIMULATED.to_owned());
    let history = facts.view.history.map(|history| {
        let runs = wording::count(u64::from(history.runs), "run");
        format!("forecasts were off by {:.0} % in the median of {runs}", history.median_error * 100.0)
    });
    simulated.into_iter().chain(history).collect::<Vec<_>>().join(", ")
}

/// Returns the rows.
#[must_use]
pub fn lines(model: &Model, facts: &Facts, paint: &Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let worked = model.offload.worked.as_ref();
    match worked.map(|w| &w.outcome) {
        Some(Ok(planned)) => {
            let measured = worked.and_then(|w| w.ask.as_ref()).and_then(|ask| measured(model, facts, ask));
            lines.push(row(paint, "draft", planned, measured, Role::Text));
        }
        Some(Err(_)) => lines.push(named(paint, "draft", line::text(paint, Role::Crit, "makes no plan"))),
        None => {}
    }
    if let (Some(active), Some(placed)) = (&facts.active, &facts.view.active) {
        lines.push(row(paint, "active", active, measured(model, facts, &placed.ask), Role::Text));
    }
    for (name, plan) in [("all here", &facts.here), ("all away", &facts.away)] {
        lines.push(match plan {
            Ok(planned) => row(paint, name, planned, None, Role::Dim),
            Err(error) => named(paint, name, line::text(paint, Role::Warn, format!("does not fit: {error}"))),
        });
    }
    lines
}

fn named(paint: &Paint, name: &str, text: Line<'static>) -> Line<'static> {
    line::join([line::text(paint, Role::Label, format!("{name:<8}")), text], 1)
}

/// The terms of a forecast. Without measurements only its bounds are told.
fn row(paint: &Paint, name: &str, planned: &Planned, measured: Option<Measured>, role: Role) -> Line<'static> {
    let predicted = &planned.predicted;
    let s = wording::pace;
    let terms = predicted.links.iter().map(|l| format!("{} {}", l.device, s(l.transfer_s)));
    let terms: Vec<String> = std::iter::once(format!("compute {}", s(predicted.compute_s))).chain(terms).collect();
    let step = if predicted.calibrated {
        format!("step {}", s(predicted.step_s))
    } else if s(predicted.lower_s) == s(predicted.upper_s) {
        format!("step {}, assumed", s(predicted.upper_s))
    } else {
        format!("step {} to {}, assumed", s(predicted.lower_s), s(predicted.upper_s))
    };
    let measured = measured.map(|m| format!("   {} in job {}", s(m.step_s), m.job.job)).unwrap_or_default();
    named(
        paint,
        name,
        line::join(
            [line::text(paint, Role::Dim, terms.join("  ")), line::text(paint, role, step), line::text(paint, Role::Ok, measured)],
            2,
        ),
    )
}

/// A step as a job has shown it.
struct Measured<'a> {
    job: &'a JobView,
    step_s: f64,
}

/// Returns what the last job took that asked for the same of the same model at the same size.
fn measured<'a>(model: &'a Model, facts: &Facts, ask: &OffloadAsk) -> Option<Measured<'a>> {
    let view = &facts.view;
    let alike = |job: &&JobView| {
        let spec = &job.spec;
        let same_work = spec.size == view.size && spec.batch == view.batch && spec.computes_in() == view.precision;
        spec.set.name == view.model && spec.compute == view.compute && spec.offload == *ask && same_work
    };
    let timed = |job: &'a JobView| Some(Measured { job, step_s: median(&job.timing.as_ref()?.per_step)? });
    model.known.jobs.iter().filter(alike).filter_map(timed).max_by_key(|m| m.job.job)
}

/// The median of all steps but the first, which waits for more than the others.
fn median(steps: &[f64]) -> Option<f64> {
    let counted = if steps.len() > 1 { &steps[1..] } else { steps };
    crate::jobs::progress::median(counted)
}

/// Returns the rows that cannot be done without of what else follows: how the wish compares, whom it would be for, what was tried.
#[must_use]
pub fn least_what_if(model: &Model) -> u16 {
    2 + u16::from(model.offload.trial.is_some())
}

/// Returns what else follows.
#[must_use]
pub fn what_if(model: &Model, facts: &Facts, paint: &Paint) -> Vec<Line<'static>> {
    let state = &model.offload;
    let mut lines = Vec::new();
    if let Some(Err(trouble)) = state.worked.as_ref().map(|w| &w.outcome) {
        lines.push(line::text(paint, Role::Text, &trouble.hint));
    } else if let (Some(before), Some(after)) = (facts.before(), state.shown()) {
        lines.push(line::text(paint, Role::Text, compared(facts, before, after)));
    }
    if let Some(trial) = state.trial.and_then(|id| model.known.job(id)) {
        lines.push(tried(trial, paint));
    }
    lines.push(line::text(paint, Role::Text, applies(model, facts)));
    if let Some(worked) = &state.worked {
        lines.extend(worked.warnings.iter().map(|w| line::text(paint, Role::Warn, format!("{} {w}", paint.mark(Role::Warn)))));
    }
    let least = match facts.smallest {
        None => format!("even with all of it elsewhere, too little of {} is free", facts.view.compute),
        Some(bytes) if bytes == crate::units::Bytes::ZERO => format!("all of it fits on {}", facts.view.compute),
        Some(bytes) => format!("{bytes} is the least virtual VRAM that fits now"),
    };
    lines.push(line::text(paint, Role::Dim, least));
    lines
}

/// The wish against what is held, or would be.
fn compared(facts: &Facts, before: &Planned, after: &Planned) -> String {
    let (old, new) = (facts.amounts(before), facts.amounts(after));
    let mut devices: Vec<DeviceId> = old.held.iter().chain(&new.held).map(|(device, _)| *device).collect();
    devices.sort_unstable();
    devices.dedup();
    let moves = before.plan.homes.iter().zip(&after.plan.homes).filter(|(a, b)| a != b).count() as u64;
    let against = if facts.active.is_some() { "what is loaded" } else { "all of it here" };
    if moves == 0 {
        return format!("the same as {against}");
    }
    let changed = devices.into_iter().filter(|d| old.lies_on(*d) != new.lies_on(*d));
    let changes: Vec<String> = changed.map(|d| format!("{d} {}", memory::signed(old.lies_on(d), new.lies_on(d)))).collect();
    let by = after.predicted.step_s - before.predicted.step_s;
    let pace = match wording::pace(by.abs()) {
        none if none == wording::pace(0.0) => "a step no longer".to_owned(),
        more if by > 0.0 => format!("a step {more} longer"),
        less => format!("a step {less} shorter"),
    };
    let sure = if after.predicted.calibrated && before.predicted.calibrated { "" } else { ", as assumed" };
    format!("{pace} than with {against}{sure}; {} move: {}", wording::count(moves, "block"), changes.join(", "))
}

/// Whom the wish would be for.
fn applies(model: &Model, facts: &Facts) -> String {
    let key = |verb| model.options.keys.said(Layer::Offload, Action::Tune(verb));
    let (next, now, trial) = (key(TuneVerb::Apply), key(TuneVerb::ApplyNow), key(TuneVerb::Trial));
    match (deeds::now_for(model), model.known.active_on(facts.view.compute)) {
        (Some(job), _) if job.state.is_active() => {
            format!("job {}: {now} moves its weights at the next step border; {next} is for the next job, {trial} tries it then", job.job)
        }
        (Some(job), _) => format!("job {} waits: {now} lets it ask for this; {next} takes it into the Run form", job.job),
        (None, Some(job)) => format!("job {} keeps what it has; {next} is for the next job, {trial} tries it after this one", job.job),
        (None, None) => format!("{next} asks for it in the Run form; {trial} tries it with two steps, and measures"),
    }
}

fn tried(job: &JobView, paint: &Paint) -> Line<'static> {
    let measured = job.timing.as_ref().and_then(|t| median(&t.per_step));
    let foretold = job.placement.as_ref().and_then(|p| p.predicted.as_ref()).map(|p| p.step_s);
    match (measured, foretold, &job.failure) {
        (_, _, Some(failure)) => line::text(paint, Role::Crit, format!("trial: job {} failed: {}", job.job, failure.message)),
        (Some(step), Some(told), None) => {
            let text = format!("trial: job {} took {} a step, {} were foretold", job.job, wording::pace(step), wording::pace(told));
            line::text(paint, Role::Ok, text)
        }
        (Some(step), None, None) => line::text(paint, Role::Ok, format!("trial: job {} took {} a step", job.job, wording::pace(step))),
        (None, _, None) => line::text(paint, Role::Dim, format!("trial: job {} is {}", job.job, job.state)),
    }
}
