//! What keys do in the list of sets.

use crate::tui::action::Motion;
use crate::tui::model::Model;
use crate::tui::screens::detail;

/// Goes to another row.
pub fn go(model: &mut Model, motion: Motion) {
    let shown = model.sets.shown(&model.known);
    let Some(at) = model.sets.cursor(&shown) else { return };
    let page = usize::from(model.size.1).saturating_sub(10).max(2);
    let to = shown[motion.row(at, shown.len(), page)].at();
    model.sets.selected = Some(to);
}

/// Opens the set at hand.
pub fn open(model: &mut Model) {
    if let Some(row) = model.sets.at_hand(&model.known) {
        let subject = detail::Subject::Set(row.set.name.clone(), row.set.device);
        model.detail = Some(detail::State { subject, scroll: 0 });
    }
}

/// Returns what is worth copying: the set's name.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    model.sets.at_hand(&model.known).map(|row| row.set.name.clone())
}
