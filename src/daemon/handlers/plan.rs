//! What would become of a job's weights: readings first, then worked out off the core.

use crate::daemon::core::Core;
use crate::daemon::pending::Pending;
use crate::daemon::planning::Question;
use crate::daemon::sets;
use crate::placement::{Room, Share, simulated};
use crate::units::{Bytes, DeviceId};
use crate::wire::PlanAsk;

/// Has the devices read: rooms that are a second old may be none.
pub(super) fn plan(core: &mut Core, pending: Pending) {
    let within = if super::submit::all_heard(core) { super::READING } else { super::submit::FIRST_READING };
    super::read_devices(core, pending, within);
}

/// The devices were read: returns what is to be worked out, with all that is known here.
pub(super) fn question(core: &Core, ask: Box<PlanAsk>) -> Box<Question> {
    let defaults = Box::new(super::submit::defaults(core));
    let compute = ask.draft.compute_device.unwrap_or(defaults.compute);
    let engine = core.engines.get(&compute);
    let held = sets::obtainable(core, compute);
    Box::new(Question {
        rooms: rooms(core, compute, &held),
        held,
        placed: engine.and_then(|e| e.memory.as_ref()).into_iter().flat_map(|m| &m.sets).filter_map(|s| s.placed.clone()).collect(),
        engine: engine.and_then(|e| e.about.clone()),
        experience: core.experience.clone(),
        now: core.now,
        simulated: core.policy.simulated.clone(),
        ask,
        defaults,
    })
}

/// The memory of every device. What this engine's weights take counts as free, since others would take their place, but for
/// pinned sets. A disk has no room among these: the weights lie there already, whatever is free.
fn rooms(core: &Core, compute: DeviceId, held: &[Share]) -> Vec<Room> {
    let held = |device| held.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
    let known = core.frame.devices.iter().filter(|d| d.id != DeviceId::Disk && !d.simulated);
    let room = |(device, total, free): (DeviceId, Bytes, Bytes)| Room {
        device,
        total,
        free: (free + held(device)).min(total),
        reserve: core.policy.floors.reserve(device, total),
        committed: Bytes::ZERO,
    };
    let real = known.filter_map(|d| d.memory.map(|m| room((d.id, m.total, m.free))));
    let others = [crate::daemon::simulated::held_by_others(core, compute), sets::kept(core, compute)].concat();
    let taken = |device| others.iter().filter(|s| s.device == device).map(|s| s.bytes).sum();
    real.chain(simulated::rooms(&core.policy.simulated, &core.policy.floors, taken)).collect()
}
