//! The last lines of the screen: what keys do here, and what is typed to find rows.
//!
//! ```text
//!  c cancel  p pause queue  H hold  enter open  y copy                                          keys
//!
//!  /state=failed & colour=red                                                                   while a filter is typed
//!                  ^ there is no field `colour`; there are id, set, state, …                    what is wrong with it
//! ```

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::action::{Action, JobVerb};
use super::filter::FilterError;
use super::keymap::Footer;
use super::keys::Bound;
use super::layer::Layer;
use super::model::Model;
use super::screens::detail::view::folded;
use super::view::hint;
use super::widgets::line::{self, piece};
use super::widgets::popup;
use super::{searching, verbs, wording};
use crate::theme::Role;

/// Rows that an error may take.
const ERROR_ROWS: usize = 4;

/// Draws the last row of the screen, and above it what is typed to find rows.
pub fn draw(model: &Model, frame: &mut Frame, area: Rect) {
    let paint = &model.paint;
    let keys = keys(model, area.width);
    let typed = searching::open(model).filter(|search| search.typing);
    let Some(search) = typed else {
        frame.render_widget(line::join([Line::raw(""), keys], 1), area);
        return;
    };
    // Room is left for the cursor behind the last letter.
    let room = usize::from(area.width).saturating_sub(4);
    let text = wording::clean(search.input.value());
    let shown = wording::tail(&text, room, paint.glyphs);
    let below = match searching::problem(model) {
        None => vec![line::join([Line::raw(""), keys], 1)],
        Some(problem) => told(model, &problem, (&text, &shown), usize::from(area.width)),
    };
    let rows = below.len() as u16;
    let place = Rect { y: area.y.saturating_sub(rows), height: rows + 1, ..area };
    popup::clear(frame, place, paint);
    frame.render_widget(Line::from(vec![piece(paint, Role::Key, " /"), piece(paint, Role::Input, &shown)]), Rect { height: 1, ..place });
    for (n, line) in below.into_iter().enumerate() {
        frame.render_widget(line::fit(line, usize::from(area.width), paint.glyphs), Rect { y: place.y + 1 + n as u16, height: 1, ..area });
    }
    let x = area.x + 2 + wording::width(&shown) as u16;
    frame.set_cursor_position(Position { x: x.min(area.right() - 1), y: place.y });
}

/// A caret below where a filter went wrong, and why.
fn told(model: &Model, problem: &FilterError, (text, shown): (&str, &str), columns: usize) -> Vec<Line<'static>> {
    let paint = &model.paint;
    let value = searching::open(model).map(|search| search.input.value()).unwrap_or_default();
    let before = wording::width(&wording::clean(value.get(..problem.at).unwrap_or(value)));
    // Of a long text only the end is seen.
    let cut = wording::width(text).saturating_sub(wording::width(shown));
    let caret = 2 + before.saturating_sub(cut);
    // Far to the right there would be no room for the words.
    let indent = if caret + 2 + columns / 2 <= columns { caret + 2 } else { 2 };
    let mut rows = folded(&problem.message, columns.saturating_sub(indent + 1));
    rows.truncate(ERROR_ROWS);
    let mut lines: Vec<Line<'static>> = Vec::new();
    if indent == 2 {
        lines.push(Line::from(vec![Span::raw(" ".repeat(caret)), piece(paint, Role::Crit, "^")]));
    }
    for row in rows {
        let before = if lines.is_empty() { caret } else { indent };
        let sign = if lines.is_empty() { "^ " } else { "" };
        lines.push(Line::from(vec![Span::raw(" ".repeat(before)), piece(paint, Role::Crit, format!("{sign}{row}"))]));
    }
    lines
}

/// The keys of what is open, as many as fit.
fn keys(model: &Model, width: u16) -> Line<'static> {
    let paint = &model.paint;
    let layers = model.layers();
    let mut keys: Vec<Line<'static>> = Vec::new();
    if layers.contains(&Layer::Jobs) && !model.is_up() {
        keys.push(line::text(paint, Role::Warn, "no daemon: jobs cannot be changed"));
    }
    let mut taken = 1 + keys.iter().map(|k| line::width(k) + 2).sum::<usize>();
    for bound in layers.iter().flat_map(|layer| model.options.keys.of(*layer)).filter(|b| b.row.footer == Footer::Shown) {
        let Some(key) = bound.shown() else { continue };
        if is_hidden_by(model, &layers, bound) || verbs::reason_against(model, bound.row.action).is_some() {
            continue;
        }
        let hint = hint(paint, &key, label(model, bound));
        taken += line::width(&hint) + 2;
        if taken > usize::from(width) {
            break;
        }
        keys.push(hint);
    }
    line::join(keys, 2)
}

/// A key that goes there and back says what it would do.
fn label(model: &Model, bound: &Bound) -> &'static str {
    match bound.row.action {
        Action::Job(JobVerb::PauseQueue) if model.known.paused => "resume queue",
        Action::Open if bound.row.layer == Layer::Gallery && model.finished.large => "all pictures",
        _ => bound.row.label,
    }
}

/// A key means what the innermost layer says.
fn is_hidden_by(model: &Model, layers: &[Layer], bound: &Bound) -> bool {
    let mut inner = layers.iter().take_while(|l| **l != bound.row.layer).flat_map(|l| model.options.keys.of(*l));
    let hides = |other: &Bound| bound.keys.first().is_some_and(|key| other.keys.contains(key)) || other.row.action == bound.row.action;
    inner.any(hides)
}
