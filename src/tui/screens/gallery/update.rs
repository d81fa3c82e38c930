//! What keys do among finished pictures, and which of them are to be made ready.

use ratatui::layout::{Position, Rect};

use super::layout::Layout;
use super::{Entry, view};
use crate::jobs::JobState;
use crate::tui::action::Motion;
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::gallery::{Source, Wanted};
use crate::tui::model::Model;
use crate::tui::view::body;
use crate::units::JobId;
use crate::wire::Request;

/// Finished jobs that are asked for.
const LISTED: u32 = 500;

/// Asks for the finished jobs, unless they are asked for.
pub fn ask(model: &mut Model) -> Option<Effect> {
    let request = Request::List { states: vec![JobState::Done], after: None, limit: LISTED };
    model.ask_once(Purpose::Finished, request)
}

/// Goes to another picture.
pub fn go(model: &mut Model, motion: Motion) {
    let columns = usize::from(layout(model).columns);
    let rows = usize::from(layout(model).rows);
    let entries = model.finished.entries(&model.known);
    let Some(at) = model.finished.cursor(&entries) else { return };
    let last = entries.len() - 1;
    let to = match motion {
        Motion::Left | Motion::PreviousPane => at.saturating_sub(1),
        Motion::Right | Motion::NextPane => (at + 1).min(last),
        _ if model.finished.large => motion.row(at, entries.len(), 2),
        Motion::Up => at.checked_sub(columns).unwrap_or(at),
        Motion::Down if at + columns > last && at / columns < last / columns => last,
        Motion::Down => {
            if at + columns > last {
                at
            } else {
                at + columns
            }
        }
        Motion::First => 0,
        Motion::Last => last,
        Motion::PageUp => at.saturating_sub(columns * rows),
        Motion::PageDown => (at + columns * rows).min(last),
    };
    model.finished.selected = Some((entries[to].job, entries[to].place));
}

/// Goes to the picture at a column and row of the screen, if there is one.
pub fn select_at(model: &mut Model, (x, y): (u16, u16)) {
    let entries = model.finished.entries(&model.known);
    let Some(selected) = model.finished.cursor(&entries).filter(|_| !model.finished.large) else { return };
    let tiles = layout(model).tiles(entries.len(), selected);
    let found = tiles.into_iter().find(|(_, tile)| tile.contains(Position { x, y })).map(|(at, _)| (entries[at].job, entries[at].place));
    if found.is_some() {
        model.finished.selected = found;
    }
}

/// Shows the picture large, or the grid again.
pub fn open(model: &mut Model) {
    model.finished.large = !model.finished.large && model.finished.entry(&model.known).is_some();
}

/// Back to the grid, then drops the filter.
pub fn back(model: &mut Model) {
    if !std::mem::take(&mut model.finished.large) {
        // Whether there was one does not matter here.
        let _had = model.finished.filter.clear();
    }
}

/// Returns what is worth copying: the picture's path.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    Some(model.finished.entry(&model.known)?.image()?.path.display().to_string())
}

/// Returns where everything stands on the model's screen.
#[must_use]
pub fn layout(model: &Model) -> Layout {
    Layout::of(body(Rect { x: 0, y: 0, width: model.size.0, height: model.size.1 }))
}

/// Returns the pictures that are seen, the selected one first. Files of another machine are not here.
#[must_use]
pub fn wanted(model: &Model) -> Vec<Wanted> {
    if model.place != "local" {
        return Vec::new();
    }
    let file = |entry: &Entry<'_>, cells| Some(Wanted { source: Source::File(entry.image()?.path.clone()), cells });
    let entries = model.finished.entries(&model.known);
    let Some(selected) = model.finished.cursor(&entries) else { return Vec::new() };
    if model.finished.large {
        let place = view::large(layout(model)).0;
        return file(&entries[selected], (place.width, place.height)).into_iter().collect();
    }
    let mut tiles = layout(model).tiles(entries.len(), selected);
    tiles.sort_by_key(|(at, _)| *at != selected);
    let sized = tiles.into_iter().filter_map(|(at, tile)| {
        let place = Layout::picture(tile);
        file(&entries[at], (place.width, place.height))
    });
    sized.collect()
}

/// Asks for the first job in sight of which nothing is known yet.
pub fn ask_for_unknown(model: &mut Model) -> Option<Effect> {
    if !model.is_up() || model.asked.waits_for(|p| matches!(p, Purpose::Pictures(_))) {
        return None;
    }
    let job = unknown_in_sight(model)?;
    Some(model.ask(Purpose::Pictures(job), Request::Show(job)))
}

fn unknown_in_sight(model: &Model) -> Option<JobId> {
    let entries = model.finished.entries(&model.known);
    let selected = model.finished.cursor(&entries)?;
    let tiles = layout(model).tiles(entries.len(), selected);
    tiles.into_iter().map(|(at, _)| entries[at]).find(|entry| entry.view.is_none()).map(|entry| entry.job)
}
