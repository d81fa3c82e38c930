//! Draws the help.
//!
//! ```text
//! ┌ Help ─ / searches ───────────────────────────────────┐
//! │ Jobs                                                 │
//! │   c            take the job, or the marked ones, …   │
//! │   p            start no more jobs after the …        │
//! │ Everywhere                                           │
//! └──────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::State;
use super::state::Row;
use crate::theme::Role;
use crate::tui::action::{Action, Motion};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::screens::detail::view::folded;
use crate::tui::view::{below_hosts, body};
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::popup;

/// Widest box: longer lines are hard to read.
const WIDEST: u16 = 116;
/// Columns of the keys.
const KEYS: usize = 18;

/// Draws the help.
pub fn draw(model: &Model, state: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let keys = &model.options.keys;
    let lines = lines(model, state, paint, area.width);
    let page = usize::from(area.height).saturating_sub(2);
    let first = state.scroll.min(lines.len().saturating_sub(page));
    let more = lines.len().saturating_sub(first + page);
    let search = state.search.input.value().trim();
    let key = |action| keys.key_of(&[Layer::Help, Layer::Everywhere], action).unwrap_or_default();
    let (searches, scrolls) = (key(Action::Filter), key(Action::Move(Motion::Down)));
    let note = match (search, more) {
        _ if model.options.keys_problem.is_some() => model.options.keys_problem.clone().unwrap_or_default(),
        ("", 0) => format!("{searches} searches"),
        ("", more) => format!("{searches} searches, {scrolls} scrolls, {more} more below"),
        (words, 0) => format!("search: {words}"),
        (words, more) => format!("search: {words}, {more} more below"),
    };
    let inside = popup::draw(frame, area, paint, "Help", &note, (WIDEST, area.height));
    if lines.is_empty() {
        frame.render_widget(line::text(paint, Role::Dim, "No key does that here."), Rect { height: inside.height.min(1), ..inside });
    }
    for (y, text) in (inside.y..inside.bottom()).zip(lines.into_iter().skip(first)) {
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}

/// Returns how many lines the help has, and how many are seen.
#[must_use]
pub fn extent(model: &Model) -> (usize, usize) {
    let area = body(below_hosts(model, Rect { x: 0, y: 0, width: model.size.0, height: model.size.1 }));
    let rows = model.help.as_ref().map_or(0, |open| lines(model, open, &model.paint, area.width).len());
    (rows, usize::from(area.height).saturating_sub(2))
}

/// Every sentence stands on as many lines as it needs.
fn lines(model: &Model, state: &State, paint: &Paint, columns: u16) -> Vec<Line<'static>> {
    let room = usize::from(columns.min(WIDEST)).saturating_sub(KEYS + 7).max(8);
    let mut lines = Vec::new();
    for row in state.rows(&model.options.keys) {
        match row {
            Row::Title(layer) => lines.push(line::text(paint, Role::Title, layer.title())),
            Row::Key(bound) => {
                let mut keys = folded(&bound.written(), KEYS).into_iter();
                let mut about = folded(bound.row.about, room).into_iter();
                loop {
                    let (keys, about) = (keys.next(), about.next());
                    if keys.is_none() && about.is_none() {
                        break;
                    }
                    let keys = piece(paint, Role::Key, format!("{:<KEYS$} ", keys.unwrap_or_default()));
                    lines.push(Line::from(vec![Span::raw("  "), keys, piece(paint, Role::Text, about.unwrap_or_default())]));
                }
            }
        }
    }
    lines
}
