//! What keys do on the screen of one device.

use super::processes;
use super::state::Identity;
use crate::devices::{DeviceKind, DeviceReading};
use crate::tui::action::{DeviceVerb, Motion};
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::overview::devices::ids;
use crate::tui::screens::{Screen, detail};
use crate::wire::{ProcessSignal, Request};

/// Goes to another device, process or signal.
pub fn go(model: &mut Model, motion: Motion) {
    if let Some(signals) = &mut model.devices.signals {
        signals.cursor = motion.row(signals.cursor, ProcessSignal::ALL.len(), ProcessSignal::ALL.len());
        return;
    }
    match motion {
        Motion::Left | Motion::PreviousPane => step(model, -1),
        Motion::Right | Motion::NextPane => step(model, 1),
        Motion::Up | Motion::Down | Motion::First | Motion::Last | Motion::PageUp | Motion::PageDown => {
            let shown = model.devices.shown(&model.known);
            let Some(at) = model.devices.cursor(&shown) else { return };
            let to = Identity::of(shown[motion.row(at, shown.len(), 8)]);
            model.devices.process = Some(to);
        }
    }
}

/// Tells the daemon which bus is looked at, when that is another one now: measuring takes time, and is done for nobody else.
pub fn watch(model: &mut Model) -> Option<Effect> {
    let has_bus = |d: &&DeviceReading| matches!(d.kind, DeviceKind::Cuda | DeviceKind::Amd);
    let shown = if model.screen == Screen::Devices { model.devices.reading(&model.known).filter(has_bus).map(|d| d.id) } else { None };
    if !model.is_up() || shown == model.devices.watched {
        return None;
    }
    model.devices.watched = shown;
    Some(model.ask(Purpose::Watch, Request::Watch(shown)))
}

fn step(model: &mut Model, by: isize) {
    let ids = ids(&model.known);
    let count = ids.len().cast_signed();
    if count == 0 {
        return;
    }
    let at = model.devices.reading(&model.known).and_then(|d| ids.iter().position(|id| *id == d.id)).unwrap_or(0);
    model.devices.device = Some(ids[(at.cast_signed() + by).rem_euclid(count).cast_unsigned()]);
    model.devices.process = None;
}

/// Looks at the device in another way, or at what its process can be told.
pub fn perform(model: &mut Model, verb: DeviceVerb) {
    match verb {
        DeviceVerb::Span => model.devices.span = model.devices.span.next(),
        DeviceVerb::Signal => processes::open(model),
    }
}

/// Opens details, or takes the selected signal.
pub fn open(model: &mut Model) {
    if model.devices.signals.is_some() {
        processes::confirm(model);
    } else if let Some(reading) = model.devices.reading(&model.known) {
        model.detail = Some(detail::State { subject: detail::Subject::Device(reading.id), scroll: 0 });
    }
}

/// Closes what is open, then drops the filter.
pub fn back(model: &mut Model) {
    if model.devices.signals.take().is_none() {
        // Whether there was one does not matter here.
        let _had = model.devices.filter.clear();
    }
}

/// Returns what is worth copying: the command of the process at hand, or the device's identity.
#[must_use]
pub fn value(model: &Model) -> Option<String> {
    let process = model.devices.at_hand(&model.known).and_then(|p| p.command.clone());
    process.or_else(|| model.devices.reading(&model.known).map(|d| d.uuid.clone().unwrap_or_else(|| d.id.to_string())))
}
