//! What keys do in the form.

use tui_input::Input;

use super::pick::{Choice, Pick, choices};
use super::profiles::{self, Choosing};
use super::{Field, Mode};
use crate::tui::action::Motion;
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::model::{Confirm, Model, Then};
use crate::wire::Request;

/// Rows of an open list that are seen at once, for its page keys.
const PICK_PAGE: usize = 10;

/// Goes to another field, or to another choice.
pub fn go(model: &mut Model, motion: Motion) {
    let field = model.compose.field();
    let found = match &model.compose.mode {
        Mode::Picking(pick) => pick.found(&choices(field, &model.known)).len(),
        Mode::Profiles(choosing) => choosing.pick.found(&choosing.choices()).len(),
        Mode::Moving | Mode::Typing => 0,
    };
    if let Mode::Picking(pick) | Mode::Profiles(Choosing { pick, .. }) = &mut model.compose.mode {
        pick.cursor = motion.row(pick.cursor, found, PICK_PAGE);
        return;
    }
    let form = &mut model.compose;
    match motion {
        Motion::Down => form.walk(1),
        Motion::Up => form.walk(-1),
        Motion::PageDown => form.walk(5),
        Motion::PageUp => form.walk(-5),
        Motion::First => form.go_to(Field::Model),
        Motion::Last => form.go_to(Field::Denoise),
        Motion::NextPane => form.step(1),
        Motion::PreviousPane => form.step(-1),
        Motion::Left => cycle(model, -1),
        Motion::Right => cycle(model, 1),
    }
}

/// Starts to type, opens the choices, or takes one.
pub fn open(model: &mut Model) -> Vec<Effect> {
    let field = model.compose.field();
    match &model.compose.mode {
        Mode::Moving if field.has_choices() => {
            model.compose.mode = Mode::Picking(Pick::default());
            if field == Field::Precision {
                return ask_for_advice(model);
            }
        }
        Mode::Moving => model.compose.mode = Mode::Typing,
        Mode::Typing => {}
        Mode::Profiles(_) => return profiles::choose(model),
        Mode::Picking(pick) => {
            // A model may also be a path that no folder lists.
            if let Some(value) = pick.taken(&choices(field, &model.known), field == Field::Model) {
                write(model, value);
            }
            model.compose.mode = Mode::Moving;
        }
    }
    Vec::new()
}

/// Asks which precisions of the form's model suit the box, unless that is known.
fn ask_for_advice(model: &mut Model) -> Vec<Effect> {
    let name = model.compose.text(Field::Model).value().trim().to_owned();
    if model.known.advice.as_ref().is_some_and(|(of, _)| *of != name) {
        model.known.advice = None;
    }
    let is_asked = model.asked.waits_for(|p| matches!(p, Purpose::Advice(of) if *of == name));
    if name.is_empty() || !model.is_up() || is_asked || model.known.advice.is_some() {
        return Vec::new();
    }
    vec![model.ask(Purpose::Advice(name.clone()), Request::Advise(name))]
}

/// Asks whether the form is to be emptied.
pub fn clear(model: &mut Model) {
    model.confirm = Some(Confirm {
        question: "Empty the form?".to_owned(),
        consequence: "Every field goes back to its default.".to_owned(),
        command: None,
        list: Vec::new(),
        scroll: 0,
        then: Then::ClearForm,
    });
}

/// Takes the choice so many places further.
fn cycle(model: &mut Model, by: isize) {
    let field = model.compose.field();
    let all = choices(field, &model.known);
    let count = all.len().cast_signed();
    if count == 0 {
        return;
    }
    let now = model.compose.text(field).value().trim();
    let at = all.iter().position(|c| c.value == now).map_or(if by > 0 { -1 } else { 0 }, usize::cast_signed);
    let Choice { value, .. } = all[(at + by).rem_euclid(count).cast_unsigned()].clone();
    write(model, value);
}

fn write(model: &mut Model, value: String) {
    model.compose.edit(|input| *input = Input::new(value));
}
