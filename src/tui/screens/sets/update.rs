//! What keys do in the list of sets.

use super::menu::Stay;
use super::{Menu, Target, deeds};
use crate::tui::action::Motion;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::compose::{Field, pick};
use crate::tui::screens::detail;

/// Rows of an open list that are seen at once, for its page keys.
const PICK_PAGE: usize = 10;

/// Goes to another row, time or model.
pub fn go(model: &mut Model, motion: Motion) {
    let models = match &model.sets.menu {
        Some(Menu::Load(pick)) => pick.found(&pick::choices(Field::Model, &model.known)).len(),
        Some(Menu::Keep(_)) | None => 0,
    };
    match &mut model.sets.menu {
        Some(Menu::Load(pick)) => pick.cursor = motion.row(pick.cursor, models, PICK_PAGE),
        Some(Menu::Keep(keep)) => keep.cursor = motion.row(keep.cursor, Stay::ALL.len(), Stay::ALL.len()),
        None => {
            let shown = model.sets.shown(&model.known);
            let Some(at) = model.sets.cursor(&shown) else { return };
            let page = usize::from(model.size.1).saturating_sub(10).max(2);
            let to = shown[motion.row(at, shown.len(), page)].at();
            model.sets.selected = Some(to);
            model.sets.did = None;
        }
    }
}

/// Opens the set at hand, or takes what is chosen.
pub fn open(model: &mut Model) -> Vec<Effect> {
    match model.sets.menu.take() {
        Some(Menu::Keep(keep)) => vec![deeds::ask(model, &keep.target, deeds::Deed::Keep(keep.stay()))],
        // A model may also be a path that no folder lists.
        Some(Menu::Load(pick)) => match pick.taken(&pick::choices(Field::Model, &model.known), true) {
            Some(name) => deeds::load(model, name),
            None => Vec::new(),
        },
        None => {
            if let Some(Target { id, device, .. }) = model.sets.at_hand(&model.known).map(Target::of) {
                model.detail = Some(detail::State { subject: detail::Subject::Set(id, device), scroll: 0 });
            }
            Vec::new()
        }
    }
}

/// Closes what is open, then drops the filter.
pub fn back(model: &mut Model) {
    model.sets.did = None;
    if model.sets.menu.take().is_none() {
        // Whether there was one does not matter here.
        let _had = model.sets.filter.clear();
    }
}

/// Returns what is worth copying: the set's name.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    model.sets.at_hand(&model.known).map(|set| set.name.clone())
}

/// Returns the command that does what is open or was done last; without either the one that lists the sets.
#[must_use]
pub fn command(model: &Model) -> String {
    match &model.sets.menu {
        Some(Menu::Keep(keep)) => deeds::Deed::Keep(keep.stay()).command(&keep.target.word(&model.known)),
        Some(Menu::Load(_)) | None => model.sets.did.clone().unwrap_or_else(|| "perilune sets list".to_owned()),
    }
}
