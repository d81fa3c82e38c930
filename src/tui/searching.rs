//! What is being typed to find rows, or could be: which line of which screen, for which fields, and what is wrong with it.

use super::filter::{self, Field, FilterError};
use super::model::Model;
use super::screens::{Screen, cache, devices, gallery, log, queue, sets};
use super::widgets::search::Search;

/// Returns the search of what is open.
#[must_use]
pub fn open(model: &Model) -> Option<&Search> {
    if let Some(help) = &model.help {
        return Some(&help.search);
    }
    if model.alarm.is_some() || model.detail.is_some() {
        return None;
    }
    match model.screen {
        Screen::Devices => Some(&model.devices.filter),
        Screen::Sets => Some(&model.sets.filter),
        Screen::Cache => Some(&model.cache.filter),
        Screen::Gallery => Some(&model.finished.filter),
        Screen::Queue => Some(&model.queue.filter),
        Screen::Log => Some(&model.log.search),
        Screen::Overview | Screen::Offload | Screen::Compose => None,
    }
}

/// Returns the same to be changed.
pub fn open_mut(model: &mut Model) -> Option<&mut Search> {
    if let Some(help) = &mut model.help {
        return Some(&mut help.search);
    }
    if model.alarm.is_some() || model.detail.is_some() {
        return None;
    }
    match model.screen {
        Screen::Devices => Some(&mut model.devices.filter),
        Screen::Sets => Some(&mut model.sets.filter),
        Screen::Cache => Some(&mut model.cache.filter),
        Screen::Gallery => Some(&mut model.finished.filter),
        Screen::Queue => Some(&mut model.queue.filter),
        Screen::Log => Some(&mut model.log.search),
        Screen::Overview | Screen::Offload | Screen::Compose => None,
    }
}

/// Returns the fields that rows of a screen have, where it has a filter.
#[must_use]
pub fn fields(screen: Screen) -> Option<&'static [Field]> {
    match screen {
        Screen::Devices => Some(devices::fields::FIELDS),
        Screen::Sets => Some(sets::fields::FIELDS),
        Screen::Cache => Some(cache::fields::FIELDS),
        Screen::Gallery => Some(gallery::fields::FIELDS),
        Screen::Queue => Some(queue::fields::FIELDS),
        Screen::Log => Some(log::fields::FIELDS),
        Screen::Overview | Screen::Offload | Screen::Compose => None,
    }
}

/// Returns what is wrong with what is typed, if something is. In the help only words are looked for.
#[must_use]
pub fn problem(model: &Model) -> Option<FilterError> {
    if model.help.is_some() {
        return None;
    }
    filter::parse(open(model)?.input.value(), fields(model.screen)?).err()
}
