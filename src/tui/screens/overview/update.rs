//! What keys do on the overview.

use super::Pane;
use super::devices;
use crate::tui::action::Motion;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::{detail, queue};
use crate::tui::verbs;
use crate::wire::Notice;

/// Rows of a panel that are seen at once, for its page keys.
const PAGE: usize = 8;

/// Goes to another panel, or to another row of this one.
pub fn go(model: &mut Model, motion: Motion) {
    match motion {
        Motion::NextPane | Motion::Right => model.overview.pane = model.overview.pane.step(1),
        Motion::PreviousPane | Motion::Left => model.overview.pane = model.overview.pane.step(-1),
        Motion::Up | Motion::Down | Motion::First | Motion::Last | Motion::PageUp | Motion::PageDown => row(model, motion),
    }
}

fn row(model: &mut Model, motion: Motion) {
    match model.overview.pane {
        Pane::Devices => {
            let ids = devices::ids(&model.known);
            let at = devices::cursor(model).unwrap_or(0);
            model.overview.device = ids.get(motion.row(at, ids.len(), PAGE)).copied();
        }
        Pane::Sets => model.overview.set = motion.row(model.overview.set, model.known.sets.len(), PAGE),
        Pane::Queue => queue::update::go(model, motion),
        Pane::Events => model.overview.event = motion.row(model.overview.event, model.known.notices.len(), PAGE),
    }
}

/// Opens details of what is selected.
pub fn open(model: &mut Model) -> Vec<Effect> {
    let subject = match model.overview.pane {
        Pane::Devices => devices::ids(&model.known).get(devices::cursor(model).unwrap_or(0)).map(|id| detail::Subject::Device(*id)),
        Pane::Sets => model.known.sets.get(model.overview.set).map(|s| detail::Subject::Set(s.id.clone(), s.device)),
        Pane::Queue => return model.job_at_hand().map(|id| verbs::show(model, id)).unwrap_or_default(),
        Pane::Events => notice(model).map(|n| detail::Subject::Notice(n.clone())),
    };
    if let Some(subject) = subject {
        model.detail = Some(detail::State { subject, scroll: 0 });
    }
    Vec::new()
}

/// Returns the value to copy.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    match model.overview.pane {
        Pane::Devices => devices::ids(&model.known).get(devices::cursor(model)?).map(ToString::to_string),
        Pane::Sets => model.known.sets.get(model.overview.set).map(|s| s.name.clone()),
        Pane::Queue => model.job_at_hand().and_then(|id| queue::update::value(model, id)),
        Pane::Events => notice(model).map(|n| n.text.clone()),
    }
}

/// The selected notice; the newest is the first.
fn notice(model: &Model) -> Option<&Notice> {
    model.known.notices.iter().rev().nth(model.overview.event)
}
