//! Draws the form.
//!
//! ```text
//! ┌ Run ─ replaces job 42 ───────────────────────────────────────────────┐
//! │ model      night                              ▾  SD1.5, 2.0 GiB       │
//! │ prompt     a lighthouse at dusk_                 6 tokens, 1 window   │
//! │ size       513x512                             ! 513x512 is not …     │
//! │ …                                                                     │
//! │ perilune run -m night -p 'a lighthouse at dusk' --size 513x512        │
//! └──────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::pick::{Choice, Pick, choices};
use super::profiles::Way;
use super::state::Problem;
use super::{Field, Mode, State, estimate};
use crate::theme::Role;
use crate::tui::action::Action;
use crate::tui::hits::Hit;
use crate::tui::layer::Layer;
use crate::tui::model::{Link, Model};
use crate::tui::paint::Paint;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::text_field::{self, Wrapped};
use crate::tui::widgets::{panel, popup};
use crate::tui::wording::{self, PENDING};
use crate::workflow::{Kind, command_line};

/// Columns of the names.
const NAMES: u16 = 11;
/// Most rows of a long text while there is room.
const TEXT_ROWS: u16 = 4;

/// From this height on the estimate has a row of its own.
const ESTIMATE_FROM: u16 = 26;

/// Draws the form.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let state = &model.compose;
    let note = match (state.replaces, state.unsent) {
        (Some(job), _) => format!("replaces job {job} when submitted"),
        (None, true) => "not submitted yet".to_owned(),
        (None, false) => String::new(),
    };
    let inside = panel::draw(frame, area, paint, "Run", &note, Focus::Here);
    let (draft, problems) = state.draft();
    let command = if problems.is_empty() { command_line(&draft) } else { "the command appears when every field can be read".to_owned() };
    let mut command = text_field::wrap(&tui_input::Input::new(wording::clean(&command)), usize::from(inside.width)).rows;
    let command_rows = (command.len() as u16).clamp(1, 3).min(inside.height / 4);
    if command.len() > usize::from(command_rows) {
        command.truncate(usize::from(command_rows).saturating_sub(1));
        let copy = model.options.keys.said(Layer::Compose, Action::CopyCommand);
        command.push(format!("... (too long for this screen: {copy} copies the whole command)"));
    }
    let has_estimate = inside.height >= ESTIMATE_FROM;
    let said_rows = 1 + u16::from(has_estimate);
    let room = Rect { height: inside.height.saturating_sub(command_rows + said_rows), ..inside };
    // What is said about the form stands right below it.
    let (taken, hidden) = draw_fields(model, paint, frame, room, &problems);
    if let Some(hidden) = hidden {
        let note = [note, hidden].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        panel::draw(frame, area, paint, "Run", &note, Focus::Here);
    }
    let fields = Rect { height: room.height.min(taken + 1), ..inside };
    let status = Rect { y: fields.bottom(), height: inside.height.min(1), ..inside };
    frame.render_widget(line::fit(says(model, paint, &problems, has_estimate), usize::from(inside.width), paint.glyphs), status);
    if has_estimate {
        let text = line::join([line::text(paint, Role::Label, "estimate  "), line::text(paint, Role::Text, estimate::words(model))], 1);
        let place = Rect { y: status.y + 1, ..status };
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), place);
    }
    for (y, text) in (status.y + said_rows..inside.bottom()).zip(command) {
        frame.render_widget(line::text(paint, Role::Dim, text), Rect { y, height: 1, ..inside });
    }
    match &state.mode {
        Mode::Picking(pick) => draw_pick(model, pick, paint, frame, area),
        Mode::Profiles(choosing) => {
            let (title, empty) = match choosing.way {
                Way::Taken => ("Take a profile", "no profile is called so"),
                Way::Saved => ("Save the form as a profile", "enter saves it under this name"),
            };
            draw_choices(&choosing.pick, &choosing.choices(), title, empty, paint, frame, area);
        }
        Mode::Moving | Mode::Typing => {}
    }
}

/// Whether the form can be submitted, and what became of it.
fn says(model: &Model, paint: &Paint, problems: &[Problem], has_estimate: bool) -> Line<'static> {
    let state = &model.compose;
    if let Some(refusal) = &state.refusal {
        let hint = refusal.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
        return line::text(paint, Role::Crit, format!("{} refused: {}{hint}", paint.mark(Role::Crit), refusal.message));
    }
    let problem = problems.iter().find(|(field, _)| *field == state.field()).or(problems.first());
    if let Some((field, refusal)) = problem {
        let hint = refusal.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
        return line::text(paint, Role::Warn, format!("{} {}: {}{hint}", paint.mark(Role::Warn), field.name(), refusal.message));
    }
    match (&model.link, state.missing(), estimate::refusal(model)) {
        (Link::Down { .. }, ..) => line::text(
            paint,
            Role::Warn,
            format!("{} no daemon answers; the draft is kept. Start one: perilune serve", paint.mark(Role::Warn)),
        ),
        (_, Some((field, refusal)), _) => line::text(paint, Role::Dim, format!("not ready: {}: {}", field.name(), refusal.message)),
        (_, None, Some(refusal)) => {
            // What has no room now may have some when its turn comes; what cannot be meant will not be taken.
            let what = if refusal.kind == Kind::Refused { "no plan as things are" } else { "not ready" };
            let hint = refusal.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
            line::text(paint, Role::Warn, format!("{} {what}: {}{hint}", paint.mark(Role::Warn), refusal.message))
        }
        (_, None, None) => match estimate::words(model) {
            words if has_estimate || words == PENDING => {
                let key = |action| model.options.keys.said(Layer::Compose, action);
                let (now, held) = (key(Action::SubmitJob), key(Action::SubmitHeld));
                line::text(paint, Role::Ok, format!("ready: {now} submits, {held} submits it held"))
            }
            words => line::text(paint, Role::Ok, format!("ready: {words}")),
        },
    }
}

/// A field and the rows it takes.
struct Laid {
    field: Field,
    value: Wrapped,
    rows: u16,
}

/// Draws the fields; returns the rows that they take, and how many fields are not seen, if any.
fn draw_fields(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect, problems: &[Problem]) -> (u16, Option<String>) {
    let notes = area.width / 3;
    let values = area.width.saturating_sub(NAMES + notes + 2);
    let spare = area.height.saturating_sub(Field::ALL.len() as u16);
    let laid: Vec<Laid> = Field::ALL.iter().map(|field| lay(&model.compose, *field, values, spare)).collect();
    let total: u16 = laid.iter().map(|l| l.rows).sum();
    let before = |at: usize| laid.iter().take(at).map(|l| l.rows).sum::<u16>();
    // Where not all fit, the one that keys act on stays in sight.
    let at = Field::ALL.iter().position(|f| *f == model.compose.field()).unwrap_or(0);
    let first = list::first_row(usize::from(before(at)), usize::from(total), usize::from(area.height)) as u16;
    let (mut above, mut below) = (0, 0);
    for (place, laid) in laid.iter().enumerate() {
        let Some(y) = before(place).checked_sub(first).map(|y| area.y + y) else {
            above += 1;
            continue;
        };
        if y + laid.rows > area.bottom() {
            below += 1;
            continue;
        }
        let problem = problems.iter().find(|(f, _)| *f == laid.field);
        paint.hits.note(Rect { y, height: laid.rows, ..area }, Hit::Row { at: place, selected: at });
        draw_field(model, paint, frame, Rect { y, height: laid.rows, ..area }, (values, notes), laid, problem);
    }
    let hidden = [(above, "above"), (below, "below")].into_iter().filter(|(fields, _)| *fields > 0);
    let hidden: Vec<String> = hidden.map(|(fields, place)| format!("{fields} more {place}")).collect();
    (total, (!hidden.is_empty()).then(|| hidden.join(", ")))
}

/// Long texts get rows while there are some to spare; others have one, around the cursor.
fn lay(state: &State, field: Field, columns: u16, spare: u16) -> Laid {
    let value = text_field::wrap(state.text(field), usize::from(columns));
    let long = matches!(field, Field::Prompt | Field::Negative);
    let most = if long { (1 + spare / 2).min(TEXT_ROWS) } else { 1 };
    Laid { field, rows: (value.rows.len() as u16).clamp(1, most), value }
}

fn draw_field(
    model: &Model,
    paint: &Paint,
    frame: &mut Frame,
    area: Rect,
    (values, notes): (u16, u16),
    laid: &Laid,
    problem: Option<&Problem>,
) {
    let state = &model.compose;
    let selected = state.field() == laid.field;
    let name = format!("{:<width$}", laid.field.name(), width = usize::from(NAMES) - 1);
    let role = if selected { Role::Selection } else { Role::Label };
    frame.render_widget(line::text(paint, role, name), Rect { height: 1, width: NAMES, ..area });
    let place = Rect { x: area.x + NAMES, width: values, ..area };
    // The rows around the cursor.
    let first = (laid.value.cursor.1 + 1).saturating_sub(usize::from(laid.rows));
    let typing = selected && matches!(state.mode, Mode::Typing);
    let empty = state.text(laid.field).value().is_empty();
    for (y, row) in (place.y..place.bottom()).zip(laid.value.rows.iter().skip(first)) {
        let text = match (empty, typing) {
            (true, false) => line::text(paint, Role::Dim, laid.field.placeholder()),
            (_, true) => line::fit(line::text(paint, Role::Input, row), usize::from(values), paint.glyphs),
            (false, false) => line::text(paint, Role::Text, row),
        };
        frame.render_widget(text, Rect { y, height: 1, ..place });
    }
    if typing {
        let (x, y) = laid.value.cursor;
        frame.set_cursor_position(Position { x: place.x + x as u16, y: place.y + (y - first) as u16 });
    }
    if laid.field.has_choices() && !typing {
        frame.render_widget(line::text(paint, Role::Key, paint.glyphs.choices), Rect { x: place.right(), width: 1, height: 1, ..area });
    }
    let note = line::fit(note(model, laid.field, paint, problem), usize::from(notes), paint.glyphs);
    frame.render_widget(note, Rect { x: place.right() + 2, width: notes, height: 1, ..area });
}

/// What to know about a field: what is wrong with it, or what it means.
fn note(model: &Model, field: Field, paint: &Paint, problem: Option<&Problem>) -> Line<'static> {
    if let Some((_, refusal)) = problem {
        let hint = refusal.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
        return line::text(paint, Role::Crit, format!("{} {}{hint}", paint.mark(Role::Warn), refusal.message));
    }
    let text = model.compose.text(field).value();
    match field {
        Field::Prompt | Field::Negative if !text.trim().is_empty() => {
            let (tokens, windows) = (model.options.count_tokens)(text);
            let count = format!("{}, {}", wording::count(tokens as u64, "token"), wording::count(windows as u64, "window"));
            line::text(paint, Role::Dim, count)
        }
        Field::Model => {
            let known = choices(field, &model.known).into_iter().find(|c| c.value == text.trim());
            let unlisted = if text.is_empty() { "" } else { "not in the model folders: a path" };
            line::text(paint, Role::Dim, known.map_or_else(|| unlisted.to_owned(), |c| c.note))
        }
        Field::Device => {
            let known = choices(field, &model.known).into_iter().find(|c| !text.is_empty() && c.value == text.trim());
            line::text(paint, Role::Dim, known.map(|c| c.note).unwrap_or_default())
        }
        Field::Seed if !text.is_empty() => line::text(paint, Role::Dim, "image k has seed + k"),
        Field::Prompt
        | Field::Negative
        | Field::Size
        | Field::Steps
        | Field::Cfg
        | Field::Sampler
        | Field::Schedule
        | Field::Seed
        | Field::Batch
        | Field::Precision
        | Field::VirtualVram
        | Field::Donors
        | Field::Expert
        | Field::Pins
        | Field::Priority
        | Field::Output
        | Field::InitImage
        | Field::Denoise => Line::default(),
    }
}

fn draw_pick(model: &Model, pick: &Pick, paint: &Paint, frame: &mut Frame, area: Rect) {
    let field = model.compose.field();
    let empty = if field == Field::Model { no_model(model) } else { "nothing is called so".to_owned() };
    draw_choices(pick, &choices(field, &model.known), field.name(), &empty, paint, frame, area);
}

/// Returns what to say where no model is called as it was typed.
#[must_use]
pub fn no_model(model: &Model) -> String {
    let why = if model.known.models.is_none() { "the models are not known yet" } else { "no model is called so" };
    format!("{why}; {} takes what you type as a path", model.options.keys.said(Layer::Pick, Action::Open))
}

/// Draws a list of choices and the line that finds one.
pub fn draw_choices(pick: &Pick, all: &[Choice], title: &str, empty: &str, paint: &Paint, frame: &mut Frame, area: Rect) {
    let found = pick.found(all);
    let height = (found.len() as u16).clamp(1, 14) + 3;
    let inside = popup::draw(frame, area, paint, title, "type to find one", (72, height));
    let columns = usize::from(inside.width);
    let typed = wording::tail(&wording::clean(pick.input.value()), columns.saturating_sub(4), paint.glyphs);
    let x = inside.x + 2 + wording::width(&typed) as u16;
    let prompt = Line::from(vec![piece(paint, Role::Key, "/ "), piece(paint, Role::Input, typed)]);
    frame.render_widget(prompt, Rect { height: inside.height.min(1), ..inside });
    frame.set_cursor_position(Position { x: x.min(inside.right().saturating_sub(1)), y: inside.y });
    let rows = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
    if found.is_empty() {
        frame.render_widget(line::text(paint, Role::Dim, empty), Rect { height: rows.height.min(1), ..rows });
        return;
    }
    list::draw(frame, rows, paint, found.len(), Some((pick.cursor, Focus::Here)), |at| {
        let choice = &found[at];
        let value = if choice.value.is_empty() { "(default)" } else { choice.value.as_str() };
        let value = line::fit(line::text(paint, Role::Text, value), columns / 2, paint.glyphs);
        let mut spans = value.spans;
        spans.push(Span::raw(" "));
        spans.push(piece(paint, Role::Dim, &choice.note));
        line::fit(Line::from(spans), columns, paint.glyphs)
    });
}
