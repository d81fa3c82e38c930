//! From a key to what it does: through the table of keys to the screen that is open.

use super::action::{Action, Motion};
use super::asked::Purpose;
use super::chord::Chord;
use super::effect::Effect;
use super::layer::Layer;
use super::model::{Confirm, Model, Then};
use super::screens::compose::pick::Pick;
use super::screens::compose::profiles::Way;
use super::screens::{Screen, alerts, cache, compose, detail, devices, gallery, help, log, offload, overview, palette, queue, sets};
use super::widgets::text_field;
use super::{searching, twin, verbs, view, wording};
use crate::theme::Role;
use crate::wire::Request;

/// Takes in a key.
pub fn press(model: &mut Model, chord: Chord) -> Vec<Effect> {
    if view::is_too_small(model.size) {
        return press_unseen(model, chord);
    }
    let layers = model.layers();
    if let Some(action) = layers.iter().find_map(|layer| model.options.keys.resolve(*layer, chord)) {
        return act(model, action);
    }
    match layers[0] {
        Layer::Palette => palette::update::press(model, chord),
        Layer::Filter => {
            if let Some(search) = searching::open_mut(model) {
                search.press(chord);
            }
        }
        Layer::Edit => model.compose.edit(|input| text_field::press(input, chord)),
        Layer::Pick => {
            if let Some(pick) = open_pick(model) {
                pick.press(chord);
            }
        }
        Layer::Wish => offload::update::press(model, chord),
        Layer::Confirm
        | Layer::Help
        | Layer::Alerts
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Devices
        | Layer::Signals
        | Layer::Sets
        | Layer::Stays
        | Layer::Cache
        | Layer::Rules
        | Layer::Gallery
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

/// Takes in a key where the terminal is too small to show what it would do: nothing is done that is not seen.
fn press_unseen(model: &mut Model, chord: Chord) -> Vec<Effect> {
    let bound = [Layer::Always, Layer::Everywhere].into_iter().find_map(|layer| model.options.keys.resolve(layer, chord));
    match bound {
        Some(action @ (Action::Quit | Action::Suspend | Action::Redraw)) => act(model, action),
        Some(_) | None => Vec::new(),
    }
}

/// Takes in pasted text. It is never taken for keys.
pub fn paste(model: &mut Model, text: &str) {
    match model.layers()[0] {
        Layer::Palette => palette::update::paste(model, text),
        Layer::Filter => {
            if let Some(search) = searching::open_mut(model) {
                text_field::paste(&mut search.input, text);
            }
        }
        // What is pasted upon a field is meant for it, also before typing has begun.
        Layer::Edit | Layer::Compose => model.compose.edit(|input| text_field::paste(input, text)),
        Layer::Pick => {
            if let Some(pick) = open_pick(model) {
                pick.paste(text);
            }
        }
        Layer::Wish | Layer::Offload => offload::update::paste(model, text),
        Layer::Confirm
        | Layer::Help
        | Layer::Alerts
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Devices
        | Layer::Signals
        | Layer::Sets
        | Layer::Stays
        | Layer::Cache
        | Layer::Rules
        | Layer::Gallery
        | Layer::Presets
        | Layer::Queue
        | Layer::Log
        | Layer::Replay
        | Layer::Hosts
        | Layer::Everywhere
        | Layer::Always => {}
    }
}

/// The list of choices that is open, whichever screen opened it.
fn open_pick(model: &mut Model) -> Option<&mut Pick> {
    match (model.screen, &mut model.compose.mode, &mut model.cache.menu, &mut model.sets.menu) {
        (Screen::Compose, compose::Mode::Picking(pick), _, _) | (Screen::Sets, _, _, Some(sets::Menu::Load(pick))) => Some(pick),
        (Screen::Compose, compose::Mode::Profiles(choosing), _, _) => Some(&mut choosing.pick),
        (Screen::Cache, _, Some(cache::Menu::Convert(convert)), _) => Some(&mut convert.pick),
        _ => None,
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
            let besides = match model.screen {
                Screen::Offload => offload::update::ask(model),
                Screen::Cache => cache::update::ask(model),
                Screen::Gallery => gallery::update::ask(model),
                Screen::Compose => {
                    compose::estimate::doubt(model);
                    None
                }
                Screen::Overview | Screen::Devices | Screen::Sets | Screen::Queue | Screen::Log => None,
            };
            return [model.ask(Purpose::Devices, Request::Devices)].into_iter().chain(besides).collect();
        }
        Action::GoTo(screen) => return go_to(model, screen),
        Action::Move(motion) => go(model, motion),
        Action::Open => return open(model),
        Action::Back => return back(model),
        Action::Filter => {
            if let Some(search) = searching::open_mut(model) {
                search.typing = true;
            }
        }
        Action::Palette => {
            model.palette = Some(palette::State::open(model));
            model.alarm = None;
        }
        Action::Help => model.help = Some(help::State::of(model.layers_below())),
        Action::Freeze => model.freeze(),
        Action::Mouse => {
            let on = !model.mouse;
            model.toast(Role::Ok, if on { "the mouse selects rows and screens" } else { "the mouse is the terminal's again" });
            return vec![Effect::Mouse(on)];
        }
        Action::Alerts => alerts::update::toggle(model),
        Action::Hide => alerts::update::hide(model),
        Action::Complete => palette::update::complete(model),
        Action::CopyValue => return copy(model, value(model)),
        Action::CopyCommand => return copy(model, twin::command(model)),
        Action::Mark if model.screen == Screen::Cache => cache::update::mark(model),
        Action::MarkAll if model.screen == Screen::Cache => cache::update::mark_all(model),
        Action::Mark => queue::update::mark(model),
        Action::MarkAll => queue::update::mark_all(model),
        Action::Cache(verb) => return cache::deeds::perform(model, verb),
        Action::Set(verb) => return sets::deeds::perform(model, verb),
        Action::Device(verb) => devices::update::perform(model, verb),
        Action::Job(verb) => return verbs::perform(model, verb),
        Action::Tune(verb) => return offload::update::perform(model, verb),
        Action::SubmitJob => return verbs::submit(model, false),
        Action::SubmitHeld => return verbs::submit(model, true),
        Action::ClearField => model.compose.edit(tui_input::Input::reset),
        Action::RestoreField => model.compose.restore(),
        Action::ClearForm => compose::update::clear(model),
        Action::TakeProfile => return compose::profiles::open(model, Way::Taken),
        Action::SaveProfile => return compose::profiles::open(model, Way::Saved),
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

/// Shows a screen and nothing above it.
pub fn go_to(model: &mut Model, screen: Screen) -> Vec<Effect> {
    model.screen = screen;
    (model.detail, model.help, model.alarm) = (None, None, None);
    enter(model, screen)
}

/// Asks for what a screen shows and nobody tells by itself.
fn enter(model: &mut Model, screen: Screen) -> Vec<Effect> {
    let asked = match screen {
        Screen::Offload => return offload::update::enter(model),
        Screen::Compose => models(model),
        Screen::Cache => cache::update::ask(model),
        Screen::Gallery => gallery::update::ask(model),
        Screen::Sets => {
            model.sets.did = None;
            None
        }
        Screen::Overview | Screen::Devices | Screen::Queue | Screen::Log => None,
    };
    asked.into_iter().collect()
}

/// Asks for the models when the form is opened: files come and go.
fn models(model: &mut Model) -> Option<Effect> {
    model.ask_once(Purpose::Models, Request::Models)
}

fn quit(model: &mut Model) -> Vec<Effect> {
    let asked_already = matches!(&model.confirm, Some(Confirm { then: Then::Quit, .. }));
    let converts = model.asked.waits_for(|p| matches!(p, Purpose::Convert(_)));
    if converts && !asked_already {
        model.confirm = Some(Confirm {
            question: "Leave, although a conversion is made for you?".to_owned(),
            consequence: "It stops; what is done is kept, and the next try goes on from there.".to_owned(),
            command: None,
            list: Vec::new(),
            scroll: 0,
            then: Then::Quit,
        });
        return Vec::new();
    }
    let has_draft = model.compose.unsent && !model.compose.text(compose::Field::Prompt).value().trim().is_empty();
    if asked_already || !has_draft {
        return vec![Effect::Quit];
    }
    let copy = model.options.keys.said(Layer::Confirm, Action::CopyCommand);
    model.confirm = Some(Confirm {
        question: "Leave, although the Run form holds a draft?".to_owned(),
        consequence: format!("Jobs go on; the draft is lost. {copy} copies it as a command."),
        command: Some(crate::workflow::command_line(&model.compose.draft().0)),
        list: Vec::new(),
        scroll: 0,
        then: Then::Quit,
    });
    Vec::new()
}

/// Goes somewhere in what is open.
pub fn go(model: &mut Model, motion: Motion) {
    if let Some(confirm) = &mut model.confirm {
        confirm.scroll = motion.row(confirm.scroll, confirm.list.len(), 1);
    } else if model.palette.is_some() {
        palette::update::go(model, motion);
    } else if model.help.is_some() {
        help::update::go(model, motion);
    } else if model.alarm.is_some() {
        alerts::update::go(model, motion);
    } else if model.detail.is_some() {
        detail::update::go(model, motion);
    } else {
        match model.screen {
            Screen::Overview => overview::update::go(model, motion),
            Screen::Devices => devices::update::go(model, motion),
            Screen::Sets => sets::update::go(model, motion),
            Screen::Cache => cache::update::go(model, motion),
            Screen::Gallery => gallery::update::go(model, motion),
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
    if searching::open(model).is_some_and(|search| search.typing) {
        if let Some(problem) = searching::problem(model) {
            model.toast(Role::Warn, problem.message);
        } else if let Some(search) = searching::open_mut(model) {
            search.typing = false;
        }
        return Vec::new();
    }
    if model.help.is_none() && model.alarm.is_some() {
        return alerts::update::open(model);
    }
    if model.help.is_some() || model.detail.is_some() {
        return Vec::new();
    }
    match model.screen {
        Screen::Overview => return overview::update::open(model),
        Screen::Devices => devices::update::open(model),
        Screen::Sets => return sets::update::open(model),
        Screen::Cache => return cache::update::open(model),
        Screen::Gallery => gallery::update::open(model),
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
    if let Some(search) = searching::open_mut(model)
        && search.typing
    {
        search.clear();
        return Vec::new();
    }
    if model.help.take().is_some() || model.alarm.take().is_some() || model.detail.take().is_some() {
        return Vec::new();
    }
    if model.frozen.is_some() && model.layers().contains(&Layer::Everywhere) {
        model.freeze();
        return Vec::new();
    }
    match model.screen {
        Screen::Overview => {}
        Screen::Devices => devices::update::back(model),
        Screen::Sets => sets::update::back(model),
        Screen::Cache => cache::update::back(model),
        Screen::Gallery => gallery::update::back(model),
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
    if model.alarm.is_some() {
        return alerts::update::value(model);
    }
    if let Some(detail) = &model.detail {
        return detail::update::value(model, &detail.subject);
    }
    match model.screen {
        Screen::Overview => overview::update::value(model),
        Screen::Devices => devices::update::value(model),
        Screen::Sets => sets::update::value(model),
        Screen::Cache => cache::update::value(model),
        Screen::Gallery => gallery::update::value(model),
        Screen::Offload => offload::update::value(model),
        Screen::Queue => model.job_at_hand().and_then(|id| queue::update::value(model, id)),
        Screen::Compose => Some(model.compose.text(model.compose.field()).value().to_owned()).filter(|t| !t.is_empty()),
        Screen::Log => log::update::value(model),
    }
}

fn copy(model: &mut Model, text: Option<String>) -> Vec<Effect> {
    let Some(text) = text.map(|t| wording::one_line(&t)) else {
        model.toast(Role::Warn, "there is nothing to copy");
        return Vec::new();
    };
    model.toast(Role::Ok, format!("copied: {text}"));
    vec![Effect::Copy(text)]
}
