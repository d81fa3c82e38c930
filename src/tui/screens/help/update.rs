//! What keys do in the help.

use super::view;
use crate::tui::action::Motion;
use crate::tui::model::Model;

/// Scrolls.
pub fn go(model: &mut Model, motion: Motion) {
    let (rows, page) = view::extent(model);
    if let Some(help) = &mut model.help {
        // The last page stays full.
        help.scroll = motion.row(help.scroll, rows.saturating_sub(page) + 1, page);
    }
}
