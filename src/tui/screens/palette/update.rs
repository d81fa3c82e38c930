//! What keys do in the palette.

use tui_input::Input;

use super::entries::{Command, Entry, bring_to_hand};
use crate::theme::Role;
use crate::tui::action::{Action, Motion};
use crate::tui::chord::Chord;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::{Screen, compose, sets};
use crate::tui::widgets::text_field;
use crate::tui::{act, taking_back, verbs};

/// Rows that are seen at once, for the page keys.
const PAGE: usize = 10;

/// Types.
pub fn press(model: &mut Model, chord: Chord) {
    if let Some(palette) = &mut model.palette {
        text_field::press(&mut palette.input, chord);
        palette.search();
    }
}

/// Pastes.
pub fn paste(model: &mut Model, text: &str) {
    if let Some(palette) = &mut model.palette {
        text_field::paste(&mut palette.input, text);
        palette.search();
    }
}

/// Goes to another command.
pub fn go(model: &mut Model, motion: Motion) {
    if let Some(palette) = &mut model.palette {
        let rows = palette.found().len();
        palette.cursor = motion.row(palette.cursor, rows, PAGE);
    }
}

/// Types the selected command out.
pub fn complete(model: &mut Model) {
    if let Some(palette) = &mut model.palette
        && let Some(words) = palette.selected().map(|e| e.words.clone())
    {
        palette.input = Input::new(words);
        palette.search();
    }
}

/// Runs the selected command.
pub fn run(model: &mut Model) -> Vec<Effect> {
    let Some(palette) = model.palette.take() else { return Vec::new() };
    let Some(Entry { command, refused, .. }) = palette.selected().cloned() else {
        model.toast(Role::Warn, format!("no command is called `{}`", palette.input.value().trim()));
        // What was typed stays to be mended.
        model.palette = Some(palette);
        return Vec::new();
    };
    if let Some(reason) = refused {
        model.toast(Role::Warn, reason);
        return Vec::new();
    }
    match command {
        Command::Do(action) => act::act(model, action),
        Command::ToJob(verb, job) => {
            bring_to_hand(model, job);
            act::act(model, Action::Job(verb))
        }
        Command::Show(job) => {
            bring_to_hand(model, job);
            verbs::show(model, job)
        }
        Command::CancelUnseen(job) => {
            taking_back::these(model, vec![job]);
            Vec::new()
        }
        Command::Run(name) => {
            model.screen = Screen::Compose;
            (model.detail, model.help) = (None, None);
            model.compose.mode = compose::Mode::Moving;
            model.compose.go_to(compose::Field::Model);
            model.compose.edit(|input| *input = Input::new(name));
            model.compose.go_to(compose::Field::Prompt);
            Vec::new()
        }
        Command::PinSet(target) => sets::deeds::toggle_pin(model, &target),
        Command::UnloadSet(target) => {
            sets::deeds::confirm_unload(model, target);
            Vec::new()
        }
        Command::KeepSet(target) => {
            model.screen = Screen::Sets;
            (model.detail, model.help) = (None, None);
            model.sets.filter.clear();
            sets::deeds::open_keep(model, target);
            Vec::new()
        }
        Command::LoadSet(name) => sets::deeds::load(model, name),
        Command::UseTheme(name) => {
            model.use_theme(&name);
            Vec::new()
        }
    }
}
