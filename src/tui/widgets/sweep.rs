//! A graph that sweeps: the newest column is followed by an empty one, and old columns stay where they are.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use crate::tui::history::Series;
use crate::tui::paint::Paint;

/// Draws a quantity over time, as high as the area.
pub fn draw(frame: &mut Frame, area: Rect, paint: &Paint, series: &Series, style: Style) {
    for (x, value) in (area.x..).zip(series.columns(usize::from(area.width))) {
        let Some(value) = value else { continue };
        column(frame, Position { x, y: area.y }, area.height, value, paint, style);
    }
}

/// Draws one column of a graph, filled to a share, from its upper end on.
pub fn column(frame: &mut Frame, top: Position, rows: u16, share: f32, paint: &Paint, style: Style) {
    let steps = paint.glyphs.levels.len() - 1;
    let height = level(share, usize::from(rows) * steps);
    for row in 0..rows {
        let below = usize::from(rows - 1 - row) * steps;
        let glyph = paint.glyphs.levels[height.saturating_sub(below).min(steps)];
        if let Some(cell) = frame.buffer_mut().cell_mut(Position { x: top.x, y: top.y + row }) {
            cell.set_symbol(glyph).set_style(style);
        }
    }
}

/// The height of a column; what was read at all has at least the lowest.
fn level(value: f32, full: usize) -> usize {
    #[expect(clippy::cast_sign_loss, reason = "samples are 0 to 1")]
    let height = (f64::from(value) * full as f64).round() as usize;
    height.clamp(1, full.max(1))
}
