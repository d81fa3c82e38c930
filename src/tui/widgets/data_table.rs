//! Columns that give way: the least important go first, the rest share what is left.

use std::ops::RangeInclusive;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::line;
use crate::theme::Role;
use crate::tui::paint::Paint;
use crate::tui::wording;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// Least width.
    pub min: u16,
    /// Its part of what is left over.
    pub grow: u16,
    /// Which side it is flush with.
    pub side: Side,
    /// Columns with a lower number go first when it is narrow.
    pub keep: u8,
}

/// Which side a column is flush with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The left: text.
    Left,
    /// The right: numbers.
    Right,
}

/// Columns in a certain width.
#[derive(Debug)]
pub struct Grid<'a> {
    columns: &'a [Column],
    widths: Vec<u16>,
}

impl<'a> Grid<'a> {
    /// Fits columns into a width.
    #[must_use]
    pub fn fit(columns: &'a [Column], width: u16) -> Self {
        let mut kept: Vec<bool> = vec![true; columns.len()];
        let needed = |kept: &[bool]| -> u16 {
            let shown = columns.iter().zip(kept).filter(|(_, k)| **k);
            shown.map(|(c, _)| c.min + 1).fold(0, u16::saturating_add).saturating_sub(1)
        };
        while needed(&kept) > width {
            let least = (0..columns.len()).filter(|i| kept[*i]).min_by_key(|i| (columns[*i].keep, std::cmp::Reverse(*i)));
            let Some(least) = least else { break };
            kept[least] = false;
        }
        let mut left = width.saturating_sub(needed(&kept));
        let mut shares: u16 = columns.iter().zip(&kept).filter(|(_, k)| **k).map(|(c, _)| c.grow).sum();
        let mut widths = Vec::with_capacity(columns.len());
        for (column, kept) in columns.iter().zip(&kept) {
            if !kept {
                widths.push(0);
                continue;
            }
            let extra = (u32::from(left) * u32::from(column.grow)).checked_div(u32::from(shares)).unwrap_or(0) as u16;
            left -= extra;
            shares -= column.grow;
            widths.push(column.min + extra);
        }
        Self { columns, widths }
    }

    /// Returns the width of a column; zero where it went.
    #[must_use]
    pub fn width(&self, column: usize) -> u16 {
        self.widths.get(column).copied().unwrap_or(0)
    }

    /// Returns the line of heads.
    #[must_use]
    pub fn head(&self, paint: &Paint) -> Line<'static> {
        let heads = self.columns.iter().map(|c| line::text(paint, Role::Label, c.title)).collect();
        self.row(heads, paint)
    }

    /// Draws the heads of a panel: in a row of their own in a box, upon the rule where there is one and it says
    /// nothing else. Returns the area that is left.
    pub fn draw_heads(&self, frame: &mut Frame, panel: Rect, inside: Rect, paint: &Paint, titled: (&str, &str)) -> Rect {
        let (title, note) = titled;
        let boxed = inside.x > panel.x;
        if inside.height == 0 {
            return inside;
        }
        if boxed || !note.is_empty() {
            frame.render_widget(self.head(paint), Rect { height: 1, ..inside });
            return Rect { y: inside.y + 1, height: inside.height - 1, ..inside };
        }
        let free_from = panel.x + wording::width(title) as u16 + 4;
        let mut x = inside.x + self.width(0) + 1;
        for (column, width) in self.columns.iter().zip(&self.widths).skip(1).filter(|(_, width)| **width > 0) {
            let title = column.title.trim_start();
            let columns = title.len() as u16;
            let start = match column.side {
                Side::Left => x,
                Side::Right => x + width.saturating_sub(columns),
            };
            if columns > 0 && start > free_from {
                let text = Line::from(vec![Span::raw(" "), line::piece(paint, Role::Label, title), Span::raw(" ")]);
                let place = Rect { x: start - 1, y: panel.y, width: columns + 2, height: 1 };
                frame.render_widget(text, place.intersection(frame.area()));
            }
            x += width + 1;
        }
        inside
    }

    /// Returns a row of cells, one for each column; those of columns that went are left out.
    #[must_use]
    pub fn row(&self, cells: Vec<Line<'static>>, paint: &Paint) -> Line<'static> {
        let shown = cells.into_iter().zip(self.columns).zip(&self.widths).filter(|(_, width)| **width > 0);
        line::join(shown.map(|((cell, column), width)| aligned(cell, column.side, *width, paint)), 1)
    }

    /// Returns a row in which one text stands across several columns, from the one of this number to the one of that.
    #[must_use]
    pub fn row_across(
        &self,
        mut cells: Vec<Line<'static>>,
        across: RangeInclusive<usize>,
        text: Line<'static>,
        paint: &Paint,
    ) -> Line<'static> {
        let (first, last) = (*across.start(), *across.end());
        let widths = self.widths.get(across).unwrap_or_default();
        let merged = widths.iter().filter(|w| **w > 0).map(|w| w + 1).sum::<u16>().saturating_sub(1);
        let rest = cells.split_off((last + 1).min(cells.len()));
        cells.truncate(first);
        let pieces = |from: usize, cells: Vec<Line<'static>>| {
            let columns = self.columns.iter().zip(&self.widths).skip(from);
            let shown = cells.into_iter().zip(columns).filter(|(_, (_, width))| **width > 0);
            shown.map(|(cell, (column, width))| aligned(cell, column.side, *width, paint)).collect::<Vec<_>>()
        };
        let before = pieces(0, cells);
        let middle = (merged > 0).then(|| line::fit(text, usize::from(merged), paint.glyphs));
        line::join(before.into_iter().chain(middle).chain(pieces(last + 1, rest)), 1)
    }

    /// Returns a row whose first cell is one cell and whose rest is one text over all other columns.
    #[must_use]
    pub fn row_with_text(&self, first: Line<'static>, text: Line<'static>, paint: &Paint) -> Line<'static> {
        self.row_across(vec![first], 1..=self.columns.len() - 1, text, paint)
    }
}

fn aligned(cell: Line<'static>, side: Side, width: u16, paint: &Paint) -> Line<'static> {
    match side {
        Side::Left => line::fit(cell, usize::from(width), paint.glyphs),
        Side::Right => line::fit_right(cell, usize::from(width), paint.glyphs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Theme;
    use crate::tui::options::{ColorChoice, Surroundings};

    const fn column(title: &'static str, min: u16, grow: u16, keep: u8) -> Column {
        Column { title, min, grow, side: Side::Left, keep }
    }

    const COLUMNS: &[Column] = &[column("ID", 2, 0, 9), column("NAME", 4, 3, 8), column("NOTE", 3, 1, 1)];

    fn widths(width: u16) -> Vec<u16> {
        Grid::fit(COLUMNS, width).widths
    }

    #[test]
    fn the_least_important_goes_first_and_the_rest_grow() {
        assert_eq!(widths(11), [2, 4, 3]);
        assert_eq!(widths(19), [2, 10, 5]);
        assert_eq!(widths(10), [2, 7, 0]);
        assert_eq!(widths(6), [2, 0, 0]);
        assert_eq!(widths(1), [0, 0, 0]);
    }

    #[test]
    fn rows_have_the_width_of_the_grid() {
        let paint = Paint::new(&Theme::plain(), &Surroundings::default().traits(ColorChoice::Never));
        for width in 0..40u16 {
            let grid = Grid::fit(COLUMNS, width);
            assert!(line::width(&grid.head(&paint)) <= usize::from(width));
            let text = grid.row_with_text(Line::raw("1"), Line::raw("a long text over everything that there is"), &paint);
            assert!(line::width(&text) <= usize::from(width), "{width}");
            let cells = vec![Line::raw("1"), Line::raw("night"), Line::raw("note")];
            let across = grid.row_across(cells.clone(), 1..=2, Line::raw("one text"), &paint);
            assert_eq!(line::width(&across), line::width(&grid.row(cells, &paint)), "{width}");
        }
    }
}
