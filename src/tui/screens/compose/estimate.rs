//! What the form's job would take: seconds and memory, as the daemon plans it.
//!
//! Asked whenever the form says something else and can be read, when a job has ended, whose times count from then on, and when the
//! operator asks. Not while it is typed into: then every letter would be a question.

use super::Mode;
use crate::tui::action::{Action, TuneVerb};
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::screens::Screen;
use crate::tui::wording::{self, ABSENT};
use crate::units::Bytes;
use crate::wire::{PlanAsk, PlanView, Request};
use crate::workflow::{JobDraft, Refusal};

/// What the daemon has said of a draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Of which.
    of: JobDraft,
    /// The plan, or why there is none.
    result: Result<Box<PlanView>, Refusal>,
    /// Whether something was measured since.
    doubtful: bool,
}

/// What of a draft matters to its plan.
fn essence(draft: &JobDraft) -> JobDraft {
    let said = JobDraft { prompt: String::new(), negative: String::new(), seed: None, output: None, ..draft.clone() };
    // Steps matter to the sum, which is worked out here.
    JobDraft { steps: None, priority: None, schedule: None, held: false, ..said }
}

/// Asks what the form's job would take, where that is not known.
pub fn ask(model: &mut Model) -> Option<Effect> {
    if model.screen != Screen::Compose {
        // What is free then may be something else when the form is seen again.
        model.compose.estimate = None;
        return None;
    }
    if !model.is_up() || !matches!(model.compose.mode, Mode::Moving) {
        return None;
    }
    let (draft, problems) = model.compose.draft();
    let of = essence(&draft);
    let is_known = model.compose.estimate.as_ref().is_some_and(|estimate| estimate.of == of && !estimate.doubtful);
    let is_asked = model.asked.waits_for(|p| matches!(p, Purpose::Estimate(_)));
    if of.model.trim().is_empty() || !problems.is_empty() || is_known || is_asked {
        return None;
    }
    let request = Request::Plan(Box::new(PlanAsk { draft: of.clone(), sweep: None }));
    Some(model.ask(Purpose::Estimate(Box::new(of)), request))
}

/// Takes in what the daemon has said.
pub fn told(model: &mut Model, of: JobDraft, result: Result<Box<PlanView>, Refusal>) {
    model.compose.estimate = Some(Estimate { of, result, doubtful: false });
}

/// Notes that the daemon may say something else now. What it said stands until it does.
pub fn doubt(model: &mut Model) {
    if let Some(estimate) = &mut model.compose.estimate {
        estimate.doubtful = true;
    }
}

/// Returns why the form's job has no plan, where the daemon has said so.
#[must_use]
pub fn refusal(model: &Model) -> Option<&Refusal> {
    let (draft, _) = model.compose.draft();
    let known = model.compose.estimate.as_ref().filter(|estimate| estimate.of == essence(&draft))?;
    known.result.as_ref().err()
}

/// Returns the estimate in a line, or why there is none.
#[must_use]
pub fn words(model: &Model) -> String {
    let (draft, problems) = model.compose.draft();
    if draft.model.trim().is_empty() || !problems.is_empty() {
        return format!("{ABSENT}  no model, or a field that cannot be read");
    }
    match model.compose.estimate.as_ref().filter(|estimate| estimate.of == essence(&draft)) {
        _ if !model.is_up() => format!("{ABSENT}  no daemon answers"),
        None if matches!(model.compose.mode, Mode::Typing) => format!("{ABSENT}  when the field is done"),
        None => wording::PENDING.to_owned(),
        Some(Estimate { result: Err(refusal), .. }) => format!("{ABSENT}  {}", refusal.message),
        Some(Estimate { result: Ok(view), .. }) => format!("{}; {}", time(model, view, draft.steps), memory(view)),
    }
}

fn time(model: &Model, view: &PlanView, steps: Option<u32>) -> String {
    if !view.predicted.calibrated {
        let keys = &model.options.keys;
        let tuner = keys.said(Layer::Everywhere, Action::GoTo(Screen::Offload));
        let probe = keys.said(Layer::Offload, Action::Tune(TuneVerb::Probe));
        return format!("time {ABSENT} (nothing like it was measured here; {tuner} {probe} does)");
    }
    let step = view.predicted.step_s;
    match steps {
        Some(steps) => {
            let all = view.predicted.first_step_s + step * f64::from(steps.saturating_sub(1));
            format!("{} for {steps} steps of {}", wording::countdown(all), wording::measured(step))
        }
        None => format!("{} a step", wording::measured(step)),
    }
}

/// What weights and what passes through take where it is computed; what the arithmetic takes beside them nobody foretells.
fn memory(view: &PlanView) -> String {
    let Some(here) = view.devices.first() else { return format!("memory {ABSENT}") };
    let taken = here.held + view.staging;
    let of = here.total.map(|total| format!(" of {}", wording::gib(total))).unwrap_or_default();
    let low = if here.free_after.is_some_and(|free| free < Bytes::mib(512)) { ", LOW" } else { "" };
    let others: Bytes = view.devices.iter().skip(1).map(|d| d.held).sum();
    let away = if others > Bytes::ZERO { format!(", {} GiB elsewhere", wording::gib(others)) } else { String::new() };
    format!("weights take {}{of} GiB of {}{low}{away}", wording::gib(taken), here.id)
}
