//! What keys do in the log.

use super::fields::{Beside, FIELDS};
use crate::tui::action::{LogVerb, Motion};
use crate::tui::model::Model;
use crate::tui::screens::detail;

/// Goes to another line.
pub fn go(model: &mut Model, motion: Motion) {
    let shown = model.log.shown(&model.known.log, model.known.log_dropped);
    let Some(at) = model.log.cursor(&shown) else { return };
    let page = usize::from(model.size.1).saturating_sub(4);
    let to = motion.row(at, shown.len(), page);
    let number = shown[to].0;
    // At its end the log is followed again.
    model.log.at = (to + 1 < shown.len()).then_some(number);
}

/// Looks at the log in another way.
pub fn look(model: &mut Model, verb: LogVerb) {
    match verb {
        LogVerb::Follow => {
            let shown = model.log.shown(&model.known.log, model.known.log_dropped);
            let here = model.log.cursor(&shown).map(|at| shown[at].0);
            model.log.at = if model.log.at.is_some() { None } else { here };
        }
        LogVerb::MoreLevels => model.log.level = model.log.level.step(-1),
        LogVerb::FewerLevels => model.log.level = model.log.level.step(1),
        LogVerb::NextMatch => find(model, true),
        LogVerb::PreviousMatch => find(model, false),
    }
}

/// Opens the selected line, which may be longer than the screen is wide.
pub fn open(model: &mut Model) {
    let shown = model.log.shown(&model.known.log, model.known.log_dropped);
    let line = model.log.cursor(&shown).map(|at| shown[at].1.clone());
    model.detail = line.map(|line| detail::State { subject: detail::Subject::Line(line), scroll: 0 });
}

/// Returns the text of the selected line.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    let shown = model.log.shown(&model.known.log, model.known.log_dropped);
    model.log.cursor(&shown).map(|at| shown[at].1.text.clone())
}

/// Goes to the next line that was searched for, around the end.
fn find(model: &mut Model, forward: bool) {
    let shown = model.log.shown(&model.known.log, model.known.log_dropped);
    let Some(at) = model.log.cursor(&shown) else { return };
    let order: Vec<usize> =
        (1..=shown.len()).map(|by| if forward { (at + by) % shown.len() } else { (at + shown.len() - by) % shown.len() }).collect();
    let filter = model.log.search.filter(FIELDS);
    let matches = |line| filter.matches(&Beside { line, now: model.known.now });
    let found = order.into_iter().find(|row| matches(shown[*row].1)).map(|row| shown[row].0);
    if found.is_some() {
        model.log.at = found;
    }
}
