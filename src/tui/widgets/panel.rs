//! A titled area: a box where there is room, a titled rule where every column counts.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::line;
use super::list::Focus;
use crate::theme::Role;
use crate::tui::paint::Paint;
use crate::tui::wording;

/// Screens narrower than this have rules instead of boxes.
pub const BOXES_FROM: u16 = 100;

/// Returns the rows that a panel adds to its content, heads of columns included.
#[must_use]
pub fn overhead(screen_width: u16) -> u16 {
    if screen_width >= BOXES_FROM { 3 } else { 1 }
}

/// What tells panels from one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// A box around each.
    Boxes,
    /// A rule above each.
    Rules,
}

impl Lines {
    /// Returns those of a screen so many columns wide.
    #[must_use]
    pub fn of(screen_width: u16) -> Self {
        if screen_width >= BOXES_FROM { Self::Boxes } else { Self::Rules }
    }

    /// Returns the rows that they take of each panel.
    #[must_use]
    pub fn rows(self) -> u16 {
        match self {
            Self::Boxes => 2,
            Self::Rules => 1,
        }
    }
}

/// Draws the frame of a panel; returns the area inside.
pub fn draw(frame: &mut Frame, area: Rect, paint: &Paint, title: &str, note: &str, focus: Focus) -> Rect {
    let lines = Lines::of(frame.area().width);
    draw_with(lines, frame, area, paint, (title, note), focus)
}

/// Draws the frame of a panel with a title and a note in such lines; returns the area inside.
pub fn draw_with(lines: Lines, frame: &mut Frame, area: Rect, paint: &Paint, titled: (&str, &str), focus: Focus) -> Rect {
    if area.height == 0 || area.width < 4 {
        return Rect { height: 0, ..area };
    }
    let (title, note) = titled;
    match lines {
        Lines::Boxes => boxed(frame, area, paint, title, note, focus),
        Lines::Rules => ruled(frame, area, paint, title, note, focus),
    }
}

fn border(focus: Focus) -> Role {
    match focus {
        Focus::Here => Role::BorderFocus,
        Focus::Elsewhere => Role::Border,
    }
}

/// The title between two pieces of a horizontal line.
fn rule(paint: &Paint, title: &str, note: &str, focus: Focus, columns: usize) -> Line<'static> {
    let dash = paint.glyphs.lines.horizontal;
    let style = paint.style(border(focus));
    let title_role = if focus == Focus::Here { Role::BorderFocus } else { Role::Title };
    let mut spans = vec![Span::styled(dash, style), Span::raw(" "), line::piece(paint, title_role, title), Span::raw(" ")];
    if !note.is_empty() {
        spans.extend([Span::styled(dash, style), Span::raw(" ")]);
        let room = columns.saturating_sub(wording::width(title) + 8);
        let short = wording::cut(note, room, paint.glyphs);
        spans.push(line::piece(paint, Role::Dim, short));
        spans.push(Span::raw(" "));
    }
    let taken: usize = spans.iter().map(|s| wording::width(&s.content)).sum();
    spans.push(Span::styled(dash.repeat(columns.saturating_sub(taken)), style));
    Line::from(spans)
}

fn ruled(frame: &mut Frame, area: Rect, paint: &Paint, title: &str, note: &str, focus: Focus) -> Rect {
    frame.render_widget(rule(paint, title, note, focus, usize::from(area.width)), Rect { height: 1, ..area });
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

/// Draws a box; returns the area inside.
pub fn boxed(frame: &mut Frame, area: Rect, paint: &Paint, title: &str, note: &str, focus: Focus) -> Rect {
    if area.height < 2 {
        return ruled(frame, area, paint, title, note, focus);
    }
    let style = paint.style(border(focus));
    let lines = &paint.glyphs.lines;
    let [top_left, top_right, bottom_left, bottom_right] = lines.corners;
    let inner_width = usize::from(area.width) - 2;
    let mut top = vec![Span::styled(top_left, style)];
    top.extend(rule(paint, title, note, focus, inner_width).spans);
    top.push(Span::styled(top_right, style));
    frame.render_widget(Line::from(top), Rect { height: 1, ..area });
    let bottom = format!("{bottom_left}{}{bottom_right}", lines.horizontal.repeat(inner_width));
    frame.render_widget(Line::styled(bottom, style), Rect { y: area.bottom() - 1, height: 1, ..area });
    for y in area.y + 1..area.bottom() - 1 {
        for x in [area.x, area.right() - 1] {
            frame.buffer_mut().set_string(x, y, lines.vertical, style);
        }
    }
    Rect { x: area.x + 2, y: area.y + 1, width: area.width - 4, height: area.height - 2 }
}
