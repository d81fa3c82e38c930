//! From a key to what it does: through the table of keys to the screen that is open.

use super::action::{Action, Motion};
use super::asked::Purpose;
use super::chord::Chord;
use super::effect::Effect;
use super::keymap::{self, Layer};
use super::model::{Confirm, Model, Then};
use super::screens::{Screen, compose, detail, help, log, offload, overview, palette, queue};
use super::widgets::search::Search;
use super::widgets::text_field;
use super::{twin, verbs, wording};
use crate::theme::Role;
use crate::wire::Request;

/// Takes in a key.
pub fn press(model: &mut Model, chord: Chord) -> Vec<Effect> {
    let layers = model.layers();
    if let Some(action) = layers.iter().find_map(|layer| keymap::resolve(*layer, chord)) {
        return act(model, action);
    }
    match layers[0] {
        Layer::Palette => palette::update::press(model, chord),
        Layer::Filter => {
            if let Some(search) = open_search(model) {
                search.press(chord);
            }
        }
        Layer::Edit => model.compose.edit(|input| text_field::press(input, chord)),
        Layer::Pick => compose::update::press_pick(model, chord),
        Layer::Wish => offload::update::press(model, chord),
        Layer::Confirm
        | Layer::Help
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Offload
        | Layer::Presets
        | Layer::Queue
        | Layer::Compose
        | Layer::Log
        | Layer::Replay
        | Layer::Hosts
        | Layer::Everywhere
        | Layer::Always => {}
    }
    Vec::new()
}

/// Takes in pasted text. It is never taken for keys.
pub fn paste(model: &mut Model, text: &str) {
    match model.layers()[0] {
        Layer::Palette => palette::update::paste(model, text),
        Layer::Filter => {
            if let Some(search) = open_search(model) {
                text_field::paste(&mut search.input, text);
            }
        }
        // What is pasted upon a field is meant for it, also before typing has begun.
        Layer::Edit | Layer::Compose => model.compose.edit(|input| text_field::paste(input, text)),
        Layer::Pick => compose::update::paste_pick(model, text),
        Layer::Wish | Layer::Offload => offload::update::paste(model, text),
        Layer::Confirm
        | Layer::Help
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Presets
        | Layer::Queue
        | Layer::Log
        | Layer::Replay
        | Layer::Hosts
        | Layer::Everywhere
        | Layer::Always => {}
    }
}

/// The words that are being typed or could be.
fn open_search(model: &mut Model) -> Option<&mut Search> {
    if let Some(help) = &mut model.help {
        return Some(&mut help.search);
    }
    if model.detail.is_some() {
        return None;
    }
    match model.screen {
        Screen::Queue => Some(&mut model.queue.filter),
        Screen::Log => Some(&mut model.log.search),
        Screen::Overview | Screen::Offload | Screen::Compose => None,
    }
}

/// Does what an action asks for, or says why not.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(reason) = verbs::reason_against(model, action) {
        model.toast(Role::Warn, reason);
        return Vec::new();
    }
    match action {
        Action::Quit => return quit(model),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => {
            model.gallery.forget_sent();
            return vec![Effect::Redraw];
        }
        Action::Refresh => {
            let tuned = if model.screen == Screen::Offload { offload::update::ask(model) } else { None };
            return [model.ask(Purpose::Devices, Request::Devices)].into_iter().chain(tuned).collect();
        }
        Action::GoTo(screen) => {
            model.screen = screen;
            (model.detail, model.help) = (None, None);
            if screen == Screen::Offload {
                return offload::update::enter(model);
            }
            return models_for(model, screen).into_iter().collect();
        }
        Action::Move(motion) => go(model, motion),
        Action::Open => return open(model),
        Action::Back => return back(model),
        Action::Filter => {
            if let Some(search) = open_search(model) {
                search.typing = true;
            }
        }
        Action::Palette => model.palette = Some(palette::State::open(model)),
        Action::Help => model.help = Some(help::State::of(model.layers_below())),
        Action::Complete => palette::update::complete(model),
        Action::CopyValue => return copy(model, value(model)),
        Action::CopyCommand => return copy(model, twin::command(model)),
        Action::Mark => queue::update::mark(model),
        Action::MarkAll => queue::update::mark_all(model),
        Action::Job(verb) => return verbs::perform(model, verb),
        Action::Tune(verb) => return offload::update::perform(model, verb),
        Action::SubmitJob => return verbs::submit(model, false),
        Action::SubmitHeld => return verbs::submit(model, true),
        Action::ClearField => model.compose.edit(tui_input::Input::reset),
        Action::ClearForm => compose::update::clear(model),
        Action::Log(verb) => log::update::look(model, verb),
        Action::Play(play) => return vec![Effect::Play(play)],
        Action::NextHost => return vec![Effect::NextHost],
        Action::Accept => {
            let then = model.confirm.take().map(|c| c.then);
            return then.map(|then| verbs::accept(model, then)).unwrap_or_default();
        }
        Action::Decline => model.confirm = None,
    }
    Vec::new()
}

/// Asks for the models when the form is opened: files come and go.
fn models_for(model: &mut Model, screen: Screen) -> Option<Effect> {
    let asks = screen == Screen::Compose && model.is_up() && !model.asked.waits_for(|p| *p == Purpose::Models);
    asks.then(|| model.ask(Purpose::Models, Request::Models))
}

fn quit(model: &mut Model) -> Vec<Effect> {
    let asked_already = matches!(&model.confirm, Some(Confirm { then: Then::Quit, .. }));
    let has_draft = model.compose.unsent && !model.compose.text(compose::Field::Prompt).value().trim().is_empty();
    if asked_already || !has_draft {
        return vec![Effect::Quit];
    }
    model.confirm = Some(Confirm {
        question: "Leave, although the Run form holds a draft?".to_owned(),
        consequence: "Jobs go on; the draft is lost. Y copies it as a command.".to_owned(),
        command: Some(crate::workflow::command_line(&model.compose.draft().0)),
        then: Then::Quit,
    });
    Vec::new()
}

fn go(model: &mut Model, motion: Motion) {
    if model.palette.is_some() {
        palette::update::go(model, motion);
    } else if model.help.is_some() {
        help::update::go(model, motion);
    } else if model.detail.is_some() {
        detail::update::go(model, motion);
    } else {
        match model.screen {
            Screen::Overview => overview::update::go(model, motion),
            Screen::Offload => offload::update::go(model, motion),
            Screen::Queue => queue::update::go(model, motion),
            Screen::Compose => compose::update::go(model, motion),
            Screen::Log => log::update::go(model, motion),
        }
    }
}

fn open(model: &mut Model) -> Vec<Effect> {
    if model.palette.is_some() {
        return palette::update::run(model);
    }
    if let Some(search) = open_search(model)
        && search.typing
    {
        search.typing = false;
        return Vec::new();
    }
    if model.help.is_some() || model.detail.is_some() {
        return Vec::new();
    }
    match model.screen {
        Screen::Overview => return overview::update::open(model),
        Screen::Offload => return offload::update::take(model),
        Screen::Queue => {
            if let Some(id) = model.job_at_hand() {
                return verbs::show(model, id);
            }
        }
        Screen::Compose => return compose::update::open(model),
        Screen::Log => log::update::open(model),
    }
    Vec::new()
}

fn back(model: &mut Model) -> Vec<Effect> {
    if model.palette.take().is_some() {
        return Vec::new();
    }
    if let Some(search) = open_search(model)
        && search.typing
    {
        search.clear();
        return Vec::new();
    }
    if model.help.take().is_some() || model.detail.take().is_some() {
        return Vec::new();
    }
    match model.screen {
        Screen::Overview => {}
        Screen::Offload => return offload::update::back(model),
        Screen::Queue => {
            if !model.queue.filter.clear() {
                model.queue.marked.clear();
            }
        }
        Screen::Compose => model.compose.mode = compose::Mode::Moving,
        Screen::Log => {
            if !model.log.search.clear() {
                model.log.at = None;
            }
        }
    }
    Vec::new()
}

/// The value under the cursor.
fn value(model: &Model) -> Option<String> {
    if let Some(detail) = &model.detail {
        return detail::update::value(model, &detail.subject);
    }
    match model.screen {
        Screen::Overview => overview::update::value(model),
        Screen::Offload => offload::update::value(model),
        Screen::Queue => model.job_at_hand().and_then(|id| queue::update::value(model, id)),
        Screen::Compose => Some(model.compose.text(model.compose.field()).value().to_owned()).filter(|t| !t.is_empty()),
        Screen::Log => log::update::value(model),
    }
}

fn copy(model: &mut Model, text: Option<String>) -> Vec<Effect> {
    let Some(text) = text.map(|t| wording::clean(&t)) else {
        model.toast(Role::Warn, "there is nothing to copy");
        return Vec::new();
    };
    model.toast(Role::Ok, format!("copied: {text}"));
    vec![Effect::Copy(text)]
}
