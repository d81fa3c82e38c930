//! What keys do among the alerts.

use super::State;
use crate::tui::action::Motion;
use crate::tui::alerts::{About, Alert};
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::{Screen, detail};
use crate::tui::{act, verbs};
use crate::units::{DeviceId, JobId};

/// Rows that are seen at once, for the page keys.
const PAGE: usize = 10;

/// Opens the alerts, or closes them.
pub fn toggle(model: &mut Model) {
    model.help = None;
    model.alarm = if model.alarm.is_some() { None } else { Some(State::default()) };
}

/// Goes to another alert.
pub fn go(model: &mut Model, motion: Motion) {
    let all = model.alerts.all();
    let Some(state) = &mut model.alarm else { return };
    if let Some(at) = state.cursor(all) {
        state.selected = Some(all[motion.row(at, all.len(), PAGE)].about.clone());
    }
}

/// Returns the alert at hand.
#[must_use]
pub fn at_hand(model: &Model) -> Option<&Alert> {
    let all = model.alerts.all();
    model.alarm.as_ref()?.cursor(all).map(|at| &all[at])
}

/// Goes to what the alert at hand is about.
pub fn open(model: &mut Model) -> Vec<Effect> {
    let Some(about) = at_hand(model).map(|alert| alert.about.clone()) else { return Vec::new() };
    let effects = act::go_to(model, screen(&about));
    match about {
        About::Lost(id) | About::Unreadable(id) | About::Temperature(id) | About::Memory(id) | About::Floor(id) | About::Load(id) => {
            model.devices.device = Some(id);
        }
        About::Disk(_) => model.devices.device = Some(DeviceId::Disk),
        About::Set(id, device) => model.detail = Some(detail::State { subject: detail::Subject::Set(id, device), scroll: 0 }),
        About::Failed(id) | About::NotKept(id) => {
            model.queue.selected = Some(id);
            return [effects, verbs::show(model, id)].concat();
        }
        About::Driver | About::NoRoom | About::Engine(_) => {}
    }
    effects
}

fn screen(about: &About) -> Screen {
    match about {
        About::Driver
        | About::Lost(_)
        | About::Unreadable(_)
        | About::Temperature(_)
        | About::Memory(_)
        | About::Floor(_)
        | About::Load(_)
        | About::Disk(_) => Screen::Devices,
        About::NoRoom => Screen::Cache,
        About::Engine(_) => Screen::Log,
        About::Set(..) => Screen::Sets,
        About::Failed(_) | About::NotKept(_) => Screen::Queue,
    }
}

/// The job that is over and that the alert at hand is about.
fn job(model: &Model) -> Option<JobId> {
    at_hand(model)?.about.job()
}

/// Returns why the alert at hand cannot be hidden, if it cannot.
#[must_use]
pub fn reason_against_hiding(model: &Model) -> Option<String> {
    match (at_hand(model), job(model)) {
        (_, Some(_)) => None,
        (Some(alert), None) => Some(format!("{} goes by itself when its cause does", alert.what)),
        (None, None) => Some("there is no alert".to_owned()),
    }
}

/// Hides what is told of a job that is over.
pub fn hide(model: &mut Model) {
    let Some(id) = job(model) else { return };
    let all = model.alerts.all();
    let at = model.alarm.as_ref().and_then(|state| state.cursor(all));
    let next = at.and_then(|at| all.get(at + 1)).map(|alert| alert.about.clone());
    model.alerts.hide(id);
    model.alarm = Some(State { selected: next });
}

/// Returns what is worth copying: the alert in one line.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    at_hand(model).map(|Alert { what, value, hint, .. }| format!("{what}: {value}; {hint}"))
}

/// Returns the command that shows what the alert at hand is about.
#[must_use]
pub fn command(model: &Model) -> String {
    match at_hand(model).map(|alert| &alert.about) {
        Some(About::Failed(id) | About::NotKept(id)) => format!("perilune queue show {id}"),
        Some(About::Set(..)) => "perilune sets list".to_owned(),
        Some(About::NoRoom | About::Disk(_)) => "perilune cache list".to_owned(),
        Some(About::Driver) => "perilune doctor".to_owned(),
        Some(About::Engine(_)) | None => "perilune status".to_owned(),
        Some(About::Lost(_) | About::Unreadable(_) | About::Temperature(_) | About::Memory(_) | About::Floor(_) | About::Load(_)) => {
            "perilune devices".to_owned()
        }
    }
}
