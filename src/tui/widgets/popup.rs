//! A box above everything else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Clear;

use super::list::Focus;
use super::panel;
use crate::tui::hits::Hit;
use crate::tui::paint::Paint;

/// Draws an empty box in the middle of an area, at most so wide and high; returns the area inside.
pub fn draw(frame: &mut Frame, area: Rect, paint: &Paint, title: &str, note: &str, size: (u16, u16)) -> Rect {
    let width = size.0.min(area.width);
    let height = size.1.min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    paint.hits.note(place, Hit::Box);
    clear(frame, place, paint);
    panel::boxed(frame, place, paint, title, note, Focus::Here)
}

/// Empties an area.
pub fn clear(frame: &mut Frame, area: Rect, paint: &Paint) {
    frame.render_widget(Clear, area);
    if let Some(ground) = paint.ground() {
        frame.buffer_mut().set_style(area, ground);
    }
}
