//! Clients that want to hear of changes: each gets everything first.

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::{calibrations, conversions, sets, snapshot};
use crate::units::{DeviceId, SessionId};
use crate::wire::Reply;
use crate::wire::control::Topics;

/// Has the snapshot put together; the client listens from the moment it is.
pub(super) fn subscribe(core: &mut Core, asker: Asker, topics: Topics) {
    core.ask_ledger(snapshot::question(core, topics.job), Pending::Subscribe(asker, topics));
}

/// From now on the client listens.
pub(in crate::daemon) fn listens(core: &mut Core, session: SessionId, topics: Topics) {
    let watched = is_watched(core);
    core.listeners.insert(session, topics);
    tell_sensors(core, watched);
}

/// The client is gone; what it has asked for just now finds nobody.
pub(in crate::daemon) fn left(core: &mut Core, session: SessionId) {
    let watched = is_watched(core);
    core.listeners.remove(&session);
    if core.watched.remove(&session).is_some() {
        snapshot::watch_bus(core);
    }
    calibrations::left(core, session);
    sets::left(core, session);
    conversions::left(core, session);
    core.pending.retain(|_, pending| !matches!(pending, Pending::Subscribe(asker, _) if asker.session == session));
    tell_sensors(core, watched);
}

/// A client looks at the bus of a device, or at none any more.
pub(in crate::daemon) fn watch(core: &mut Core, asker: Asker, device: Option<DeviceId>) {
    let before = match device {
        Some(device) => core.watched.insert(asker.session, device),
        None => core.watched.remove(&asker.session),
    };
    if before != device {
        snapshot::watch_bus(core);
    }
    core.answer(asker, Ok(Reply::Done));
}

/// Whether anybody looks at the devices.
fn is_watched(core: &Core) -> bool {
    core.listeners.values().any(|topics| topics.job.is_none())
}

fn tell_sensors(core: &mut Core, before: bool) {
    let watched = is_watched(core);
    if watched != before {
        core.emit(Output::Watch(watched));
    }
}
