//! Where pictures stand: as many columns and rows of tiles as fit, and what is known of the selected one beside or below them.

use ratatui::layout::Rect;

use crate::tui::widgets::list;
use crate::tui::widgets::panel;

/// From this width on, facts stand beside the grid.
const BESIDE_FROM: u16 = 110;
/// Their columns.
const BESIDE: u16 = 46;
/// From this height on, they stand below it.
const BELOW_FROM: u16 = 18;
/// Their rows.
const BELOW: u16 = 6;
/// Columns and rows of a tile, at least.
const TILE: (u16, u16) = (19, 7);
/// The same where there is room.
const WIDE_TILE: (u16, u16) = (25, 11);

/// Where everything stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The panel of pictures.
    pub grid: Rect,
    /// The panel of facts, where there is room.
    pub about: Option<Rect>,
    /// Inside of the panel of pictures.
    pub inside: Rect,
    /// Tiles side by side.
    pub columns: u16,
    /// Tiles below each other.
    pub rows: u16,
}

impl Layout {
    /// Lays an area out.
    #[must_use]
    pub fn of(area: Rect) -> Self {
        let (grid, about) = if area.width >= BESIDE_FROM {
            let about = Rect { x: area.right() - BESIDE, width: BESIDE, ..area };
            (Rect { width: area.width - BESIDE, ..area }, Some(about))
        } else if area.height >= BELOW_FROM {
            let about = Rect { y: area.bottom() - BELOW, height: BELOW, ..area };
            (Rect { height: area.height - BELOW, ..area }, Some(about))
        } else {
            (area, None)
        };
        let boxed = area.width >= panel::BOXES_FROM;
        let inside = if boxed {
            Rect { x: grid.x + 2, y: grid.y + 1, width: grid.width.saturating_sub(4), height: grid.height.saturating_sub(2) }
        } else {
            Rect { y: grid.y + 1, height: grid.height.saturating_sub(1), ..grid }
        };
        let tile = if area.width >= BESIDE_FROM { WIDE_TILE } else { TILE };
        let (columns, rows) = ((inside.width / tile.0).max(1), (inside.height / tile.1).max(1));
        Self { grid, about, inside, columns, rows }
    }

    /// Returns the places that are seen, with the tile of each; the selected one is among them.
    #[must_use]
    pub fn tiles(&self, count: usize, selected: usize) -> Vec<(usize, Rect)> {
        let (columns, rows) = (usize::from(self.columns), usize::from(self.rows));
        let first = list::first_row(selected / columns, count.div_ceil(columns), rows) * columns;
        let (width, height) = (self.inside.width / self.columns, self.inside.height / self.rows);
        let tile = |at: usize| {
            let (column, row) = ((at % columns) as u16, (at / columns) as u16);
            Rect { x: self.inside.x + column * width, y: self.inside.y + row * height, width: width.saturating_sub(1), height }
        };
        (first..count.min(first + columns * rows)).map(|at| (at, tile(at - first))).collect()
    }

    /// Returns the part of a tile that the picture fills; the last row is its name.
    #[must_use]
    pub fn picture(tile: Rect) -> Rect {
        Rect { height: tile.height.saturating_sub(1), ..tile }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_picture_is_always_seen_and_tiles_do_not_overlap() {
        for (width, height) in [(60, 13), (80, 21), (120, 33), (160, 45), (300, 90)] {
            let layout = Layout::of(Rect { x: 0, y: 2, width, height });
            for selected in 0..50 {
                let tiles = layout.tiles(50, selected);
                assert!(tiles.iter().any(|(at, _)| *at == selected), "{selected} in {width}x{height}");
                for (n, (_, a)) in tiles.iter().enumerate() {
                    assert_eq!(a.intersection(layout.inside), *a);
                    assert!(tiles[..n].iter().all(|(_, b)| !a.intersects(*b)));
                }
            }
        }
        assert!(Layout::of(Rect { x: 0, y: 2, width: 80, height: 21 }).tiles(0, 0).is_empty());
    }
}
