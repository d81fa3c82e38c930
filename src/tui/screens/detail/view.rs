//! Draws details.
//!
//! ```text
//! ┌ Job 41 ─────────────────────────────────────────────┐
//! │ state      running, step 14 of 28, 1.50 s per step   │
//! │ prompt     a lighthouse at dusk, …                   │
//! │ …                                                    │
//! └──────────────────────────────────────── 12 more below ┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{State, Subject, device, job};
use crate::devices::Labelled;
use crate::theme::Role;
use crate::tui::alerts;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::screens::{cache, sets};
use crate::tui::view::body;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::popup;
use crate::tui::wording::{self, PENDING};
use crate::units::Grade;
use crate::wire::{LogLine, Notice, SetView};

/// Widest box: longer lines are hard to read.
const WIDEST: u16 = 116;
/// Columns of the names of values.
const NAMES: usize = 12;

/// Draws details.
pub fn draw(model: &Model, open: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let (title, lines) = content(model, open, paint, area);
    let page = usize::from(area.height).saturating_sub(2);
    let first = open.scroll.min(lines.len().saturating_sub(page));
    let more = lines.len().saturating_sub(first + page);
    let note = if more > 0 { format!("{more} more below, j scrolls") } else { String::new() };
    let height = (lines.len() as u16).saturating_add(2);
    let inside = popup::draw(frame, area, paint, &title, &note, (WIDEST, height));
    for (y, text) in (inside.y..inside.bottom()).zip(lines.into_iter().skip(first)) {
        frame.render_widget(text, Rect { y, height: 1, ..inside });
    }
}

/// Returns how many rows the details have, and how many are seen.
#[must_use]
pub fn extent(model: &Model) -> (usize, usize) {
    let area = body(Rect { x: 0, y: 0, width: model.size.0, height: model.size.1 });
    let rows = model.detail.as_ref().map_or(0, |open| content(model, open, &model.paint, area).1.len());
    (rows, usize::from(area.height).saturating_sub(2))
}

fn content(model: &Model, open: &State, paint: &Paint, area: Rect) -> (String, Vec<Line<'static>>) {
    let columns = usize::from(area.width.min(WIDEST)).saturating_sub(4);
    let unknown = || vec![line::text(paint, Role::Dim, if model.known.heard_at.is_some() { "It is not there any more." } else { PENDING })];
    match &open.subject {
        Subject::Job(id) => {
            let lines = model.known.job(*id).map_or_else(unknown, |j| job::lines(model, j, paint, columns));
            (format!("Job {id}"), lines)
        }
        Subject::Device(id) => {
            let reading = model.known.devices.iter().find(|d| d.id == *id);
            (format!("Device {id}"), reading.map_or_else(unknown, |r| device::lines(model, r, paint, columns)))
        }
        Subject::Set(id, device) => {
            let set = model.known.sets.iter().find(|s| s.id == *id && s.device == *device);
            let name = set.map_or_else(|| id.to_string(), |s| wording::clean(&s.name));
            (format!("Set {name}"), set.map_or_else(unknown, |s| self::set(model, s, paint, columns)))
        }
        Subject::Cached(path) => {
            let file = model.known.cached.iter().flatten().find(|f| f.path == *path);
            (wording::file_name(path), file.map_or_else(unknown, |f| cache::view::facts(model, f, paint, columns)))
        }
        Subject::Notice(notice) => ("Event".to_owned(), self::notice(notice, paint, columns)),
        Subject::Line(line) => ("Line of the log".to_owned(), log_line(line, paint, columns)),
    }
}

/// Returns a named value, on as many lines as it needs.
#[must_use]
pub fn entry(paint: &Paint, name: &str, role: Role, value: &str, columns: usize) -> Vec<Line<'static>> {
    let room = columns.saturating_sub(NAMES).max(8);
    let mut lines: Vec<Line<'static>> = Vec::new();
    // A name that leaves no gap has a line of its own.
    let own_line = wording::width(name) >= NAMES;
    lines.extend(own_line.then(|| line::text(paint, Role::Label, name)));
    for row in folded(&wording::clean(value), room) {
        let name = if lines.is_empty() { name } else { "" };
        lines.push(Line::from(vec![piece(paint, Role::Label, format!("{name:<NAMES$}")), piece(paint, role, row)]));
    }
    lines
}

/// Returns the rows of a text that is broken at spaces, and within words that are longer than a line.
#[must_use]
pub fn folded(text: &str, columns: usize) -> Vec<String> {
    let input = tui_input::Input::new(text.to_owned());
    crate::tui::widgets::text_field::wrap(&input, columns + 1).rows
}

fn set(model: &Model, set: &SetView, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = entry(paint, "number", Role::Text, &set.id.to_string(), columns);
    lines.extend(entry(paint, "family", Role::Text, &set.family, columns));
    lines.extend(entry(paint, "computes on", Role::Text, &Labelled(set.device).to_string(), columns));
    lines.extend(set.used_by.map(|job| entry(paint, "used by", Role::Ok, &format!("job {job}"), columns)).into_iter().flatten());
    if let (None, Some(at)) = (set.used_by, set.last_used) {
        lines.extend(entry(paint, "last used", Role::Dim, &at.to_string(), columns));
    }
    let bytes = if set.alone == set.bytes { set.bytes.to_string() } else { format!("{}, {} of them alone", set.bytes, set.alone) };
    lines.extend(entry(paint, "bytes", Role::Text, &bytes, columns));
    lines.extend(stays(set).map(|text| entry(paint, "stays", Role::Text, &text, columns)).into_iter().flatten());
    for part in &set.components {
        let differs = if part.bytes == part.planned { String::new() } else { format!(", planned {}", part.planned) };
        let others = sets::rows::sharers(&model.known, set, part);
        let shared = if others.is_empty() { String::new() } else { format!(", shared with {}", others.join(", ")) };
        let value = format!("{} {} on {}{differs}{shared}", part.precision, part.bytes, Labelled(part.device));
        let role = if alerts::part_kept(set, part) == Grade::Crit { Role::Crit } else { Role::Text };
        lines.extend(entry(paint, part.role.name(), role, &value, columns));
    }
    lines
}

fn stays(set: &SetView) -> Option<String> {
    let after = set.keep_s.map(|time| format!("{} after its last job", wording::span(time)));
    match (set.pinned, set.leaves) {
        (true, _) => Some("pinned, whoever asks for its memory".to_owned()),
        (false, Some(at)) => Some(format!("until {at}, unless a job uses it before")),
        (false, None) => after,
    }
}

fn log_line(line: &LogLine, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = entry(paint, "time", Role::Text, &line.time.to_string(), columns);
    lines.extend(entry(paint, "level", Role::Text, &line.level, columns));
    lines.extend(entry(paint, "source", Role::Text, &line.source, columns));
    lines.extend(entry(paint, "text", Role::Text, &line.text, columns));
    lines
}

fn notice(notice: &Notice, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = entry(paint, "time", Role::Text, &notice.time.to_string(), columns);
    lines.extend(entry(paint, "level", Role::Text, &notice.level, columns));
    lines.extend(notice.job.map(|job| entry(paint, "job", Role::Text, &job.to_string(), columns)).into_iter().flatten());
    lines.extend(entry(paint, "text", Role::Text, &notice.text, columns));
    lines
}
