//! Draws the palette.
//!
//! ```text
//! ┌ Command ────────────────────────────────────────────┐
//! │ : queue c_                                          │
//! │ queue cancel 42      queued night: a lighthouse …   │
//! │ queue cancel waiting take every waiting job …     C │
//! └─────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use super::State;
use super::entries::Entry;
use crate::theme::Role;
use crate::tui::paint::Paint;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::popup;
use crate::tui::wording;

/// Draws the palette.
pub fn draw(state: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let found: Vec<&Entry> = state.found().collect();
    let height = (found.len() as u16).clamp(1, 14) + 3;
    // At the top, so that the line to type into does not move while rows come and go.
    let place = Rect { height: area.height.min(17), ..area };
    let top = Rect { height: height.min(place.height), ..place };
    let inside = popup::draw(frame, top, paint, "Command", "", (92, height));
    let columns = usize::from(inside.width);
    let typed = wording::tail(&wording::clean(state.input.value()), columns.saturating_sub(4), paint.glyphs);
    let cursor = inside.x + 2 + wording::width(&typed) as u16;
    let prompt = Line::from(vec![piece(paint, Role::Key, ": "), piece(paint, Role::Input, typed)]);
    frame.render_widget(prompt, Rect { height: inside.height.min(1), ..inside });
    frame.set_cursor_position(Position { x: cursor.min(inside.right().saturating_sub(1)), y: inside.y });
    let rows = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
    if found.is_empty() {
        frame.render_widget(line::text(paint, Role::Dim, "no command is called so"), Rect { height: rows.height.min(1), ..rows });
        return;
    }
    list::draw(frame, rows, paint, found.len(), Some((state.cursor, Focus::Here)), |at| row(found[at], columns, paint));
}

fn row(entry: &Entry, columns: usize, paint: &Paint) -> Line<'static> {
    let (role, about) = match &entry.refused {
        Some(reason) => (Role::Dim, format!("({reason})")),
        None => (Role::Text, entry.about.clone()),
    };
    let words = line::fit(line::text(paint, role, &entry.words), 26.min(columns / 2), paint.glyphs);
    let left = line::join([words, line::text(paint, Role::Dim, about)], 1);
    line::ends(left, line::text(paint, Role::Key, entry.key.as_deref().unwrap_or("")), columns, paint.glyphs)
}
