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
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::popup;

/// Draws the help.
pub fn draw(model: &Model, state: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let keys = &model.options.keys;
    let rows = state.rows(keys);
    let page = usize::from(area.height).saturating_sub(2);
    let first = state.scroll.min(rows.len().saturating_sub(page));
    let more = rows.len().saturating_sub(first + page);
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
    let inside = popup::draw(frame, area, paint, "Help", &note, (92, area.height));
    if rows.is_empty() {
        frame.render_widget(line::text(paint, Role::Dim, "No key does that here."), Rect { height: inside.height.min(1), ..inside });
    }
    for (y, row) in (inside.y..inside.bottom()).zip(rows.into_iter().skip(first)) {
        let text = match row {
            Row::Title(layer) => line::text(paint, Role::Title, layer.title()),
            Row::Key(bound) => Line::from(vec![
                Span::raw("  "),
                piece(paint, Role::Key, format!("{:<18}", bound.written())),
                piece(paint, Role::Text, bound.row.about),
            ]),
        };
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}
