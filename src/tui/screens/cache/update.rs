//! What keys do in the cache, and what answers change there.

use super::menu::{Convert, Rules};
use super::{At, Menu, Row, deeds};
use crate::tui::action::Motion;
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::detail;
use crate::wire::Request;

/// Rows of an open list that are seen at once, for its page keys.
const PICK_PAGE: usize = 10;

/// Asks for the conversions that there are, unless they are asked for.
pub fn ask(model: &mut Model) -> Option<Effect> {
    model.ask_once(Purpose::Cache, Request::Cache)
}

/// Goes to another row, rule or choice.
pub fn go(model: &mut Model, motion: Motion) {
    let choices = match &model.cache.menu {
        Some(Menu::Convert(convert)) => convert.pick.found(&convert.choices(&model.known)).len(),
        Some(Menu::Rules(_)) | None => 0,
    };
    match &mut model.cache.menu {
        Some(Menu::Convert(convert)) => convert.pick.cursor = motion.row(convert.pick.cursor, choices, PICK_PAGE),
        Some(Menu::Rules(rules)) => match motion {
            Motion::Left => rules.step(-1),
            Motion::Right => rules.step(1),
            other => rules.cursor = other.row(rules.cursor, Rules::COUNT, Rules::COUNT),
        },
        None => {
            let shown = model.cache.shown(&model.known);
            let Some(at) = model.cache.cursor(&shown) else { return };
            let page = usize::from(model.size.1).saturating_sub(12).max(2);
            let to = shown[motion.row(at, shown.len(), page)].at();
            model.cache.selected = Some(to);
        }
    }
}

/// Opens the file at hand, or takes what is chosen.
pub fn open(model: &mut Model) -> Vec<Effect> {
    match &model.cache.menu {
        Some(Menu::Rules(rules)) => {
            let ask = rules.ask();
            model.cache.menu = None;
            vec![model.ask(Purpose::CleanShown(ask.clone()), Request::CleanCache(ask))]
        }
        Some(Menu::Convert(convert)) => {
            let convert = convert.clone();
            take(model, convert)
        }
        None => {
            if let Some(Row::File(file)) = model.cache.at_hand(&model.known) {
                model.detail = Some(detail::State { subject: detail::Subject::Cached(file.path.clone()), scroll: 0 });
            }
            Vec::new()
        }
    }
}

fn take(model: &mut Model, mut convert: Convert) -> Vec<Effect> {
    // A model may also be a path that no folder lists.
    let Some(value) = convert.pick.taken(&convert.choices(&model.known), convert.source.is_none()) else { return Vec::new() };
    match convert.source.take() {
        None => {
            let advice = Request::Advise(value.clone());
            model.known.advice = None;
            model.cache.menu = Some(Menu::Convert(Convert { source: Some(value.clone()), ..Convert::default() }));
            vec![model.ask(Purpose::Advice(value), advice)]
        }
        Some(source) => deeds::convert(model, &source, &value).into_iter().collect(),
    }
}

/// Closes what is open, then drops filter and marks.
pub fn back(model: &mut Model) {
    let cache = &mut model.cache;
    if cache.menu.take().is_none() && cache.trouble.take().is_none() && !cache.filter.clear() {
        cache.marked.clear();
    }
}

/// Marks the file at hand, or unmarks it, and goes on to the next row.
pub fn mark(model: &mut Model) {
    let Some(Row::File(file)) = model.cache.at_hand(&model.known) else { return };
    let path = file.path.clone();
    if !model.cache.marked.remove(&path) {
        model.cache.marked.insert(path);
    }
    go(model, Motion::Down);
}

/// Marks every file that is shown, or unmarks all where all are marked.
pub fn mark_all(model: &mut Model) {
    let shown = model.cache.shown(&model.known);
    let files = shown.iter().filter_map(|row| if let Row::File(file) = row { Some(file.path.clone()) } else { None });
    let files: Vec<_> = files.collect();
    if files.iter().all(|path| model.cache.marked.contains(path)) {
        model.cache.marked.clear();
    } else {
        model.cache.marked.extend(files);
    }
}

/// Returns what is worth copying: a path.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    let path = match model.cache.at_hand(&model.known)?.at() {
        At::File(path) => path,
        At::Conversion(id) => model.known.conversions.iter().find(|c| c.id == id)?.source.clone(),
    };
    Some(path.display().to_string())
}
