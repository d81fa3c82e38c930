//! What keys do in the help.

use crate::tui::action::Motion;
use crate::tui::model::Model;

/// Scrolls.
pub fn go(model: &mut Model, motion: Motion) {
    let page = usize::from(model.size.1).saturating_sub(6);
    if let Some(help) = &mut model.help {
        let rows = help.rows(&model.options.keys).len();
        // The last page stays full.
        help.scroll = motion.row(help.scroll, rows.saturating_sub(page) + 1, page);
    }
}
