//! What keys do in details.

use super::Subject;
use super::view;
use crate::tui::action::Motion;
use crate::tui::model::Model;
use crate::tui::screens::queue;

/// Scrolls.
pub fn go(model: &mut Model, motion: Motion) {
    let (rows, page) = view::extent(model);
    if let Some(detail) = &mut model.detail {
        detail.scroll = motion.row(detail.scroll, rows.saturating_sub(page) + 1, page);
    }
}

/// Returns the value to copy.
#[must_use]
pub fn value(model: &Model, subject: &Subject) -> Option<String> {
    match subject {
        Subject::Job(id) => queue::update::value(model, *id),
        Subject::Device(id) => {
            let reading = model.known.devices.iter().find(|d| d.id == *id)?;
            Some(reading.uuid.clone().unwrap_or_else(|| id.to_string()))
        }
        Subject::Set(id, device) => {
            let set = model.known.sets.iter().find(|s| s.id == *id && s.device == *device);
            set.map(|s| s.name.clone())
        }
        Subject::Cached(path) => Some(path.display().to_string()),
        Subject::Notice(notice) => Some(notice.text.clone()),
        Subject::Line(line) => Some(line.text.clone()),
    }
}
