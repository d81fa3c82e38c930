//! What keys do in the tuner.

use tui_input::Input;

use super::state::{Pane, State, Subject, Typing, Wish};
use super::wish::Way;
use super::{deeds, donors, presets};
use crate::config::presets::Existing;
use crate::placement::{FullAsk, Pins};
use crate::theme::Role;
use crate::tui::action::{Action, Motion, TuneVerb};
use crate::tui::asked::Purpose;
use crate::tui::chord::Chord;
use crate::tui::effect::Effect;
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::screens::Screen;
use crate::tui::widgets::text_field;
use crate::units::JobId;
use crate::wire::{PlanAsk, Request, TuneView};
use crate::workflow::{JobDraft, Refusal};

/// Blocks that a page key goes past.
const PAGE: usize = 10;

/// Opens the tuner, and asks what it needs to know.
pub fn enter(model: &mut Model) -> Vec<Effect> {
    if model.offload.subject == Subject::Form {
        let (draft, _) = model.compose.draft();
        model.offload.turn_to(Subject::Form, draft);
    }
    ask(model).into_iter().collect()
}

/// Opens the tuner for a job.
pub fn enter_for(model: &mut Model, job: JobId, draft: JobDraft) -> Vec<Effect> {
    model.screen = Screen::Offload;
    (model.detail, model.help) = (None, None);
    model.offload.turn_to(Subject::Job(job), draft);
    ask(model).into_iter().collect()
}

/// Asks the daemon what plans are worked out from.
pub fn ask(model: &mut Model) -> Option<Effect> {
    let draft = &model.offload.draft;
    if draft.model.trim().is_empty() || !model.is_up() || model.asked.waits_for(|p| matches!(p, Purpose::Tune(_))) {
        return None;
    }
    let draft = draft.clone();
    let request = Request::Tune(Box::new(PlanAsk { draft: draft.clone(), sweep: None }));
    Some(model.ask(Purpose::Tune(Box::new(draft)), request))
}

/// Takes in what the daemon has told, if it still matters.
pub fn told(model: &mut Model, asked: &JobDraft, result: Result<TuneView, Refusal>) -> Vec<Effect> {
    if *asked != model.offload.draft {
        return ask(model).into_iter().collect();
    }
    match result {
        Ok(view) => model.offload.told(view),
        Err(refusal) => {
            model.offload.refusal = Some(refusal);
            (model.offload.facts, model.offload.worked) = (None, None);
        }
    }
    Vec::new()
}

/// Does what a key of the tuner asks for.
pub fn perform(model: &mut Model, verb: TuneVerb) -> Vec<Effect> {
    match verb {
        TuneVerb::Edit => {
            model.offload.pane = Pane::Expression;
            model.offload.typing = Some(Typing::Expression(model.offload.wish()));
        }
        TuneVerb::NextWay => next_way(model),
        TuneVerb::Toggle => toggle(model),
        TuneVerb::MoreLeaves => nudge(model, true),
        TuneVerb::LessLeaves => nudge(model, false),
        TuneVerb::Presets => {
            let rows = presets::presets(&model.offload);
            model.offload.presets = Some(presets::Open { cursor: 0, rows });
            return vec![Effect::Profiles];
        }
        TuneVerb::Pin => pin(model),
        TuneVerb::Unpin => {
            let mut wish = model.offload.wish();
            wish.pins.unpin(model.offload.at_hand());
            model.offload.wish_for(wish);
        }
        TuneVerb::UnpinAll => {
            let wish = Wish { pins: Pins::default(), ..model.offload.wish() };
            model.offload.wish_for(wish);
        }
        TuneVerb::GoToBlock => model.offload.typing = Some(Typing::Block(Input::default())),
        TuneVerb::Undo => model.offload.undo(),
        TuneVerb::Apply => return deeds::apply(model),
        TuneVerb::ApplyNow => return deeds::apply_now(model),
        TuneVerb::Trial => return deeds::trial(model),
        TuneVerb::Save => model.offload.typing = Some(Typing::Profile(Input::new(deeds::profile_name(&model.offload)))),
        TuneVerb::CopyDiff => return deeds::copy_diff(model),
        TuneVerb::Floor => model.offload.typing = Some(Typing::Floor(Input::default())),
        TuneVerb::Probe => return deeds::probe(model),
    }
    Vec::new()
}

/// Goes to another block, donor or part of the screen.
pub fn go(model: &mut Model, motion: Motion) {
    if let Some(open) = &mut model.offload.presets {
        open.cursor = motion.row(open.cursor, open.rows.len(), PAGE);
        return;
    }
    let donors = donors::donors(model).len();
    let state = &mut model.offload;
    match motion {
        Motion::NextPane => state.pane = state.pane.step(1),
        Motion::PreviousPane => state.pane = state.pane.step(-1),
        Motion::Down if state.pane != Pane::Blocks => state.pane = state.pane.step(1),
        Motion::Up if state.pane != Pane::Expression => state.pane = state.pane.step(-1),
        Motion::Down | Motion::Up => {}
        Motion::Left | Motion::Right if state.pane == Pane::Donors => {
            let sideways = if motion == Motion::Left { Motion::Up } else { Motion::Down };
            state.donor = sideways.row(state.donor, donors, PAGE);
        }
        Motion::Left | Motion::Right | Motion::First | Motion::Last | Motion::PageUp | Motion::PageDown => {
            let along = match motion {
                Motion::Left => Motion::Up,
                Motion::Right => Motion::Down,
                other => other,
            };
            state.block = along.row(state.block, state.blocks(), 2 * PAGE);
        }
    }
}

/// Goes to a block that was clicked, unless letters are typed.
pub fn select(model: &mut Model, block: usize) {
    let state = &mut model.offload;
    if state.typing.is_none() && block < state.blocks() {
        (state.pane, state.block) = (Pane::Blocks, block);
    }
}

fn next_way(model: &mut Model) {
    let state = &model.offload;
    let (Some(facts), Some(planned)) = (&state.facts, state.shown()) else { return };
    let amounts = facts.amounts(planned);
    let mut way = state.way().unwrap_or_default();
    for _ in Way::ALL {
        way = way.next();
        let Some(text) = amounts.write(way) else { continue };
        let donors = if amounts.donors().is_empty() { donors::chosen(state, facts.view.compute) } else { amounts.donors() };
        let wish = Wish { text, donors, pins: state.pins.clone() };
        model.offload.wish_for(wish);
        return;
    }
}

/// Pins the block at hand to where it is, or to the next device if it is pinned already.
fn pin(model: &mut Model) {
    let state = &model.offload;
    let (Some(facts), block) = (&state.facts, state.at_hand()) else { return };
    let compute = facts.view.compute;
    let others = donors::donors(model).into_iter().filter(|d| d.problem.is_none()).map(|d| d.device);
    let seats: Vec<_> = std::iter::once(compute).chain(others).collect();
    let device = match state.pins.of(block) {
        Some(now) => seats.iter().position(|d| *d == now).and_then(|at| seats.get(at + 1)).copied().unwrap_or(compute),
        None => state.shown().map_or(compute, |p| p.plan.home(block)),
    };
    let mut wish = state.wish();
    wish.pins.pin(block, device);
    model.offload.pane = Pane::Blocks;
    model.offload.wish_for(wish);
}

fn toggle(model: &mut Model) {
    let all = donors::donors(model);
    if model.offload.pane != Pane::Donors {
        model.offload.pane = Pane::Donors;
        return;
    }
    let Some(donor) = all.get(model.offload.donor) else { return };
    if let (Some(problem), false) = (donor.problem, donor.chosen) {
        model.toast(Role::Warn, format!("{} cannot be a donor: {problem}", donor.device));
        return;
    }
    match donors::toggled(&model.offload, donor.device) {
        Ok(wish) => model.offload.wish_for(wish),
        Err(reason) => model.toast(Role::Warn, reason),
    }
}

fn nudge(model: &mut Model, more_leaves: bool) {
    match donors::nudged(&model.offload, more_leaves) {
        Ok(wish) => model.offload.wish_for(wish),
        Err(reason) => model.toast(Role::Warn, reason),
    }
}

/// Types a key.
pub fn press(model: &mut Model, chord: Chord) {
    write(&mut model.offload, |input| text_field::press(input, chord));
}

/// Pastes text; upon the tuner it is a wish, also before typing has begun.
pub fn paste(model: &mut Model, text: &str) {
    let state = &mut model.offload;
    if state.typing.is_none() {
        let old = state.wish();
        state.remember(old.clone());
        (state.pane, state.typing) = (Pane::Expression, Some(Typing::Expression(old)));
    }
    write(state, |input| text_field::paste(input, text));
}

fn write(state: &mut State, change: impl FnOnce(&mut Input)) {
    match &mut state.typing {
        Some(Typing::Expression(_)) => {
            let before = state.input.value().to_owned();
            change(&mut state.input);
            if state.input.value() != before {
                state.rework();
            }
        }
        Some(Typing::Block(input) | Typing::Profile(input) | Typing::Floor(input)) => change(input),
        None => {}
    }
}

/// Takes what is typed, or the selected preset.
pub fn take(model: &mut Model) -> Vec<Effect> {
    if let Some(open) = model.offload.presets.take() {
        if let Some(preset) = open.rows.into_iter().nth(open.cursor) {
            model.offload.wish_for(preset.wish);
        }
        return Vec::new();
    }
    let Some(typing) = model.offload.typing.clone() else { return Vec::new() };
    let taken = match &typing {
        Typing::Expression(before) => take_wish(model, before.clone()),
        Typing::Block(input) => go_to_block(model, input.value()),
        Typing::Floor(input) => deeds::leave_free(model, input.value().trim()),
        Typing::Profile(input) => {
            let name = input.value().trim();
            if deeds::is_name(name) {
                model.offload.typing = None;
            }
            return deeds::save(model, name, Existing::Kept);
        }
    };
    // What cannot be taken stays to be mended.
    if taken {
        model.offload.typing = None;
    }
    Vec::new()
}

/// Takes the typed wish, unless it cannot be read. One that does not fit may do so after other keys.
fn take_wish(model: &mut Model, before: Wish) -> bool {
    let state = &model.offload;
    let trouble = state.worked.as_ref().filter(|worked| worked.ask.is_none()).and_then(|worked| worked.outcome.as_ref().err());
    if let Some(trouble) = trouble {
        let back = model.options.keys.said(Layer::Wish, Action::Back);
        let text = format!("not taken: {}; {back} leaves it as it was", trouble.message);
        model.toast(Role::Warn, text);
        return false;
    }
    if before != state.wish() {
        model.offload.remember(before);
    }
    true
}

fn go_to_block(model: &mut Model, text: &str) -> bool {
    let last = model.offload.blocks().saturating_sub(1);
    match text.trim().parse::<usize>() {
        Ok(block) if block <= last => (model.offload.block, model.offload.pane) = (block, Pane::Blocks),
        Ok(block) => {
            model.toast(Role::Warn, format!("there is no block {block}; the last is {last}"));
            return false;
        }
        Err(_) if text.trim().is_empty() => {}
        Err(_) => {
            model.toast(Role::Warn, format!("`{text}` is no number of a block"));
            return false;
        }
    }
    true
}

/// Drops what is typed, closes what is open, and then goes back from a job to the form.
pub fn back(model: &mut Model) -> Vec<Effect> {
    if model.offload.presets.take().is_some() {
        return Vec::new();
    }
    match model.offload.typing.take() {
        Some(Typing::Expression(before)) => model.offload.put(before),
        None if model.offload.subject != Subject::Form => {
            let (draft, _) = model.compose.draft();
            model.offload.turn_to(Subject::Form, draft);
            return ask(model).into_iter().collect();
        }
        Some(Typing::Block(_) | Typing::Profile(_) | Typing::Floor(_)) | None => {}
    }
    Vec::new()
}

/// Returns what is worth copying: the ask as one text.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    let ask = model.offload.worked.as_ref()?.ask.as_ref()?;
    let facts = model.offload.facts.as_ref()?;
    let full = FullAsk { compute: facts.view.compute, ask: ask.clone() };
    let pins = if ask.pins.is_empty() { String::new() } else { format!(" --pin-blocks {}", ask.pins) };
    Some(format!("{full}{pins}"))
}
