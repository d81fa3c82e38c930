//! Where the last frame drew what can be clicked: the only thing that drawing leaves behind.

use std::cell::RefCell;
use std::rc::Rc;

use ratatui::layout::{Position, Rect};

use super::screens::Screen;

/// What stands somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// The name of a screen.
    Tab(Screen),
    /// A row of a list, and the row that was selected when it was drawn.
    Row {
        /// Which.
        at: usize,
        /// The selected one.
        selected: usize,
    },
    /// A block of the tuner's map.
    Block(usize),
    /// A box above everything that was drawn before it.
    Box,
}

/// What stands where, in the order of drawing. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct Hits(Rc<RefCell<Vec<(Rect, Hit)>>>);

impl Hits {
    /// Forgets the frame before.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Notes what stands in an area.
    pub fn note(&self, area: Rect, hit: Hit) {
        self.0.borrow_mut().push((area, hit));
    }

    /// Returns what stands at a place, unless a box is open elsewhere: while one is, only what is in it can be clicked.
    #[must_use]
    pub fn at(&self, column: u16, row: u16) -> Option<Hit> {
        let all = self.0.borrow();
        let uncovered = all.iter().rposition(|(_, hit)| *hit == Hit::Box).map_or(0, |last| last + 1);
        let place = Position { x: column, y: row };
        all[uncovered..].iter().rev().find(|(area, _)| area.contains(place)).map(|(_, hit)| *hit)
    }

    /// Returns whether a box is open.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.0.borrow().iter().any(|(_, hit)| *hit == Hit::Box)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_under_a_box_cannot_be_clicked() {
        let hits = Hits::default();
        let row = |at| Hit::Row { at, selected: 0 };
        hits.note(Rect { x: 0, y: 0, width: 10, height: 1 }, Hit::Tab(Screen::Queue));
        hits.note(Rect { x: 0, y: 2, width: 10, height: 1 }, row(4));
        assert_eq!((hits.at(9, 0), hits.at(3, 2), hits.at(3, 3)), (Some(Hit::Tab(Screen::Queue)), Some(row(4)), None));
        hits.note(Rect { x: 2, y: 1, width: 4, height: 3 }, Hit::Box);
        hits.note(Rect { x: 3, y: 2, width: 2, height: 1 }, row(1));
        assert_eq!((hits.at(3, 2), hits.at(8, 2), hits.at(0, 0)), (Some(row(1)), None, None));
        assert!(hits.is_covered());
        hits.clear();
        assert_eq!(hits.at(3, 2), None);
    }
}
