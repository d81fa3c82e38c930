//! What can be done with sets: with which, why not, and what is asked of the daemon for it.

use super::menu::{Keep, Stay};
use super::{Menu, Target};
use crate::theme::Role;
use crate::tui::action::{Action, SetVerb};
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::keys::Keys;
use crate::tui::layer::Layer;
use crate::tui::model::{Confirm, Model, Then};
use crate::tui::screens::compose::pick::Pick;
use crate::tui::wording;
use crate::units::Bytes;
use crate::wire::{Request, SetView};
use crate::workflow::{JobDraft, quote};

/// What the daemon is asked to do with a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Load it.
    Load,
    /// Have it leave.
    Unload,
    /// Have it stay whoever asks for its memory.
    Pin,
    /// Let it leave again.
    Unpin,
    /// Have it stay for a time.
    Keep(Stay),
}

impl Deed {
    /// Returns what is to be said of a set once it is done.
    #[must_use]
    pub fn done(self, name: &str) -> String {
        match self {
            Self::Load => format!("{name} is loaded"),
            Self::Unload => format!("{name} has left"),
            Self::Pin => format!("{name} is pinned and stays"),
            Self::Unpin => format!("{name} may leave again"),
            Self::Keep(Stay::Ever) => format!("{name} stays as long as nobody asks for its memory"),
            Self::Keep(stay) => format!("{name} stays for {} after its last job", stay.name()),
        }
    }

    /// Returns what is to be said of a set where it could not be done.
    #[must_use]
    pub fn undone(self, name: &str) -> String {
        match self {
            Self::Load => format!("{name} not loaded"),
            Self::Unload => format!("{name} not unloaded"),
            Self::Pin => format!("{name} not pinned"),
            Self::Unpin => format!("{name} not unpinned"),
            Self::Keep(_) => format!("{name}: its time is as it was"),
        }
    }

    /// Returns what asks the daemon to do it: with a set, or where it is loaded, with a model.
    fn request(self, of: String) -> Request {
        match self {
            Self::Load => Request::LoadSet(Box::new(JobDraft { model: of, ..JobDraft::default() })),
            Self::Unload => Request::UnloadSet(of),
            Self::Pin => Request::PinSet(of),
            Self::Unpin => Request::UnpinSet(of),
            Self::Keep(stay) => Request::KeepSet { set: of, for_s: stay.seconds() },
        }
    }

    /// Returns the command that does it with what is called so.
    #[must_use]
    pub fn command(self, word: &str) -> String {
        let word = quote(word);
        match self {
            Self::Load => format!("perilune sets load {word}"),
            Self::Unload => format!("perilune sets unload {word}"),
            Self::Pin => format!("perilune sets pin {word}"),
            Self::Unpin => format!("perilune sets unpin {word}"),
            Self::Keep(stay) => format!("perilune sets keep {word} --for {}", stay.name()),
        }
    }
}

/// Returns why something cannot be done now, if it cannot. Whether a job uses a set, the daemon knows best.
#[must_use]
pub fn reason_against(model: &Model, verb: SetVerb) -> Option<String> {
    let at_hand = model.sets.at_hand(&model.known);
    match (verb, at_hand) {
        (SetVerb::Pin | SetVerb::Keep | SetVerb::Unload, None) => Some("no set is selected".to_owned()),
        (SetVerb::Unload, Some(set)) => reason_to_stay(&model.options.keys, set),
        (SetVerb::Load, _) | (SetVerb::Pin | SetVerb::Keep, Some(_)) => None,
    }
}

/// Returns why a set cannot leave, if it is for the operator to change that.
#[must_use]
pub fn reason_to_stay(keys: &Keys, set: &SetView) -> Option<String> {
    let key = || keys.said(Layer::Sets, Action::Set(SetVerb::Pin));
    set.pinned.then(|| format!("{} is pinned; {} lets it leave again", set.name, key()))
}

/// Does something with the set at hand.
pub fn perform(model: &mut Model, verb: SetVerb) -> Vec<Effect> {
    let target = model.sets.at_hand(&model.known).map(Target::of);
    match (verb, target) {
        (SetVerb::Load, _) => {
            model.sets.menu = Some(Menu::Load(Pick::default()));
            return model.ask_once(Purpose::Models, Request::Models).into_iter().collect();
        }
        (SetVerb::Pin, Some(target)) => return toggle_pin(model, &target),
        (SetVerb::Unload, Some(target)) => confirm_unload(model, target),
        (SetVerb::Keep, Some(target)) => open_keep(model, target),
        (SetVerb::Pin | SetVerb::Unload | SetVerb::Keep, None) => {}
    }
    Vec::new()
}

/// Pins a set, or lets a pinned one leave again.
pub fn toggle_pin(model: &mut Model, target: &Target) -> Vec<Effect> {
    let pinned = target.view(&model.known).is_some_and(|set| set.pinned);
    vec![ask(model, target, if pinned { Deed::Unpin } else { Deed::Pin })]
}

/// Opens the list of times, at the one that is in force.
pub fn open_keep(model: &mut Model, target: Target) {
    let cursor = Stay::place(target.view(&model.known).and_then(|set| set.keep_s));
    model.sets.menu = Some(Menu::Keep(Keep { target, cursor }));
}

/// Asks whether a set shall leave.
pub fn confirm_unload(model: &mut Model, target: Target) {
    let Some(set) = target.view(&model.known) else { return };
    let shared = set.bytes.saturating_sub(set.alone);
    let stays = (shared > Bytes::ZERO).then(|| format!("{shared} stay: other sets use them"));
    let busy = set.used_by.map(|job| format!("job {job} uses it now; it leaves only when no job does"));
    model.confirm = Some(Confirm {
        question: format!("Unload {}?", wording::clean(&target.name)),
        consequence: format!("{} are freed; the next job loads it again.", set.alone),
        command: Some(Deed::Unload.command(&target.word(&model.known))),
        list: [stays, busy].into_iter().flatten().collect(),
        scroll: 0,
        then: Then::Unload(target),
    });
}

/// Asks the daemon to do something with a set that is loaded.
pub fn ask(model: &mut Model, target: &Target, deed: Deed) -> Effect {
    model.sets.did = Some(deed.command(&target.word(&model.known)));
    model.ask(Purpose::Set { name: wording::clean(&target.name), deed }, deed.request(target.exact()))
}

/// Asks the daemon to load a model where it computes by itself.
pub fn load(model: &mut Model, name: String) -> Vec<Effect> {
    model.sets.menu = None;
    model.sets.did = Some(Deed::Load.command(&name));
    let purpose = Purpose::Set { name: wording::clean(&name), deed: Deed::Load };
    if model.asked.waits_for(|p| *p == purpose) {
        model.toast(Role::Warn, format!("{} is being loaded", wording::clean(&name)));
        return Vec::new();
    }
    vec![model.ask(purpose, Deed::Load.request(name))]
}

/// Something was done with a set.
pub fn done(model: &mut Model, name: &str, deed: Deed, sets: &[SetView]) {
    model.toast(Role::Ok, deed.done(name));
    if let (Deed::Load, Some(set)) = (deed, sets.first()) {
        model.sets.selected = Some(super::state::At { set: Target::of(set), part: None });
    }
}
