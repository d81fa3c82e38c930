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
use crate::tui::paint::Paint;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::popup;

/// Draws the help.
pub fn draw(state: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let rows = state.rows();
    let page = usize::from(area.height).saturating_sub(2);
    let first = state.scroll.min(rows.len().saturating_sub(page));
    let more = rows.len().saturating_sub(first + page);
    let search = state.search.input.value().trim();
    let note = match (search, more) {
        ("", 0) => "/ searches".to_owned(),
        ("", more) => format!("/ searches, j scrolls, {more} more below"),
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
            Row::Key(binding) => Line::from(vec![
                Span::raw("  "),
                piece(paint, Role::Key, format!("{:<18}", binding.keys.join(" "))),
                piece(paint, Role::Text, binding.about),
            ]),
        };
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}
