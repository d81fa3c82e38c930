//! What would become of a job's weights: readings first, then worked out off the core.

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::{LookUp, Output};
use crate::daemon::pending::Pending;
use crate::daemon::planning::Question;
use crate::placement::budget::usual_reserve;
use crate::placement::{Room, simulated};
use crate::units::{Bytes, DeviceId};
use crate::wire::PlanAsk;

/// Has the devices read: rooms that are a second old may be none.
pub(super) fn plan(core: &mut Core, asker: Asker, ask: Box<PlanAsk>) {
    let within = if super::submit::all_heard(core) { super::READING } else { super::submit::FIRST_READING };
    super::read_devices(core, Pending::Plan(asker, ask), within);
}

/// The devices were read: has the plan worked out.
pub(super) fn read(core: &mut Core, asker: Asker, ask: Box<PlanAsk>) {
    let defaults = Box::new(super::submit::defaults(core));
    let compute = ask.draft.compute_device.unwrap_or(defaults.compute);
    let engine = core.engines.get(&compute);
    let question = Question {
        rooms: rooms(core, compute),
        placed: engine.and_then(|e| e.memory.as_ref()?.set.as_ref()?.placed.clone()),
        engine: engine.and_then(|e| e.about.clone()),
        experience: core.experience.clone(),
        simulated: core.policy.simulated.clone(),
        ask,
        defaults,
    };
    core.emit(Output::LookUp(asker, LookUp::Plan(Box::new(question))));
}

/// The memory of every device. What this engine's weights take counts as free, since others would take their place. A disk
/// has no room among these: the weights lie there already, whatever is free.
fn rooms(core: &Core, compute: DeviceId) -> Vec<Room> {
    let set = core.engines.get(&compute).and_then(|e| e.memory.as_ref()?.set.as_ref());
    let parts = set.map(|s| s.parts.as_slice()).unwrap_or_default();
    let held = |device| parts.iter().filter(|p| p.device == device).map(|p| p.bytes).sum::<Bytes>();
    let known = core.frame.devices.iter().filter(|d| d.id != DeviceId::Disk && !d.simulated);
    let room = |(device, total, free): (DeviceId, Bytes, Bytes)| Room {
        device,
        total,
        free: (free + held(device)).min(total),
        reserve: usual_reserve(device, total),
        committed: Bytes::ZERO,
    };
    let real = known.filter_map(|d| d.memory.map(|m| room((d.id, m.total, m.free))));
    let others = crate::daemon::simulated::held_by_others(core, compute);
    let taken = |device| others.iter().filter(|s| s.device == device).map(|s| s.bytes).sum();
    real.chain(simulated::rooms(&core.policy.simulated, taken)).collect()
}
