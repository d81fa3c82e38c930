//! Rows of which one may be selected. The selected row stays in sight.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{bar, line};
use crate::theme::Role;
use crate::tui::hits::Hit;
use crate::tui::paint::Paint;

/// Whether keys act on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// They do.
    Here,
    /// They act on something else.
    Elsewhere,
}

impl Focus {
    /// Returns the focus of something that has it if this holds.
    #[must_use]
    pub fn when(here: bool) -> Self {
        if here { Self::Here } else { Self::Elsewhere }
    }
}

/// Draws rows; `row` makes only those that are seen.
pub fn draw(
    frame: &mut Frame,
    area: Rect,
    paint: &Paint,
    rows: usize,
    selected: Option<(usize, Focus)>,
    row: impl FnMut(usize) -> Line<'static>,
) {
    let first = first_row(selected.map_or(0, |(at, _)| at), rows, usize::from(area.height));
    draw_from(frame, area, paint, first..rows, selected, row);
}

/// Draws the first of these rows, as many as there is room for.
pub fn draw_from(
    frame: &mut Frame,
    area: Rect,
    paint: &Paint,
    rows: Range<usize>,
    selected: Option<(usize, Focus)>,
    mut row: impl FnMut(usize) -> Line<'static>,
) {
    for (place, at) in rows.take(usize::from(area.height)).enumerate() {
        let place = Rect { y: area.y + place as u16, height: 1, ..area };
        let mut line = row(at);
        if selected == Some((at, Focus::Here)) {
            line = select(line, area.width, paint);
        }
        paint.hits.note(place, Hit::Row { at, selected: selected.map_or(0, |(at, _)| at) });
        frame.render_widget(line, place);
    }
}

/// Returns the first row that is seen: the selected one stands in the middle, but for the ends.
#[must_use]
pub fn first_row(selected: usize, rows: usize, page: usize) -> usize {
    selected.saturating_sub(page / 2).min(rows.saturating_sub(page))
}

/// Returns a line as the selected one: in one style from end to end, but for bars, which reversed would look empty.
#[must_use]
pub fn select(line: Line<'static>, width: u16, paint: &Paint) -> Line<'static> {
    let style = paint.style(Role::Selection);
    let mut line = line::fit(line, usize::from(width), paint.glyphs);
    for span in line.spans.iter_mut().filter(|s| !bar::is_bar(paint, &s.content)) {
        span.style = style;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_always_seen() {
        for rows in 0..30 {
            for page in 1..12 {
                for selected in 0..rows {
                    let first = first_row(selected, rows, page);
                    assert!(first <= selected && selected < first + page, "{selected} of {rows}, {page} seen from {first}");
                    assert!(first + page <= rows.max(page), "no empty rows at the end");
                }
            }
        }
    }
}
