//! What would become of a job's weights: readings first, then worked out off the core.

use super::submit;
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::{LookUp, Output};
use crate::daemon::pending::Pending;
use crate::daemon::planning::{Loaded, Question};
use crate::daemon::sets;
use crate::devices::DeviceReading;
use crate::families::Role;
use crate::placement::plan::total;
use crate::placement::{OffloadAsk, PartAsks, Room, Share, simulated};
use crate::units::{Bytes, DeviceId};
use crate::wire::PlanAsk;
use crate::wire::work::LoadedSet;
use crate::workflow::Defaults;

/// Has the devices read: rooms that are a second old may be none.
pub(super) fn plan(core: &mut Core, pending: Pending) {
    let within = if submit::all_heard(core) { super::READING } else { submit::FIRST_READING };
    super::read_devices(core, pending, within);
}

/// Who tunes is told of the job alone: whatever is asked now of its weights may be what is to be mended.
pub(super) fn without_asks(mut ask: Box<PlanAsk>) -> Box<PlanAsk> {
    (ask.draft.offload, ask.draft.parts) = (OffloadAsk::default(), PartAsks::default());
    ask
}

/// The devices were read: has it worked out, where they are those that are asked for.
pub(super) fn read(core: &mut Core, asker: Asker, ask: Box<PlanAsk>, what: fn(Box<Question>) -> LookUp) {
    let defaults = Box::new(submit::defaults(core));
    let compute = ask.draft.compute_device.unwrap_or(defaults.compute);
    let devices = submit::named(compute, ask.draft.parts.iter().map(|(_, ask)| ask).chain([&ask.draft.offload]));
    // What is missing is told by who looks for its memory; but whose simulated GPUs are, only the daemon knows.
    let simulated: Vec<DeviceId> = devices.iter().copied().filter(|device| device.is_simulated()).collect();
    match submit::none_is_hidden(core, &devices).and_then(|()| submit::all_are_there(core, &simulated)) {
        Ok(()) => core.emit(Output::LookUp(asker, what(question(core, compute, ask, defaults)))),
        Err(refusal) => core.answer(asker, Err(refusal)),
    }
}

/// What is to be worked out, with all that is known here.
fn question(core: &Core, compute: DeviceId, ask: Box<PlanAsk>, defaults: Box<Defaults>) -> Box<Question> {
    let engine = core.engines.get(&compute);
    let held = total(&[sets::obtainable(core, compute), beside(core, compute)]);
    let sets = engine.and_then(|e| e.memory.as_ref()).into_iter().flat_map(|m| &m.sets);
    Box::new(Question {
        rooms: rooms(core, compute, &held),
        held,
        loaded: sets.filter_map(|set| Some(Loaded { placed: set.placed.clone()?, cached: cached(set, compute) })).collect(),
        engine: engine.and_then(|e| e.about.clone()),
        driver: core.frame.host.driver.clone(),
        experience: core.experience.clone(),
        now: core.now,
        simulated: core.policy.simulated.clone(),
        ask,
        defaults,
    })
}

/// What of a set's diffusion network lies in the page cache.
fn cached(set: &LoadedSet, compute: DeviceId) -> Bytes {
    set.parts.iter().filter(|part| part.role == Role::Denoiser && part.device == compute).map(|part| part.cached).sum()
}

/// What the engine of a GPU has of it beside weights: it is what steps take, what blocks pass through, or what libtorch keeps for the next.
fn beside(core: &Core, compute: DeviceId) -> Vec<Share> {
    let Some(memory) = core.engines.get(&compute).and_then(|engine| engine.memory.as_ref()) else { return Vec::new() };
    let bytes = match compute {
        DeviceId::Cuda(_) | DeviceId::Amd(_) => memory.activations,
        DeviceId::Sim(_) => {
            let taken: Bytes = memory.simulated.iter().filter(|s| s.device == compute).map(|s| s.bytes).sum();
            Some(taken.saturating_sub(sets::weights_on(&memory.sets, compute)))
        }
        // What engines have beside weights in the host's memory counts as used there.
        DeviceId::Cpu | DeviceId::Disk => None,
    };
    bytes.filter(|bytes| *bytes > Bytes::ZERO).map(|bytes| Share { device: compute, bytes }).into_iter().collect()
}

/// The memory of every device that jobs may use. What this engine has counts as free, since others would take its place, but for
/// pinned sets. A disk has no room among these: the weights lie there already, whatever is free.
fn rooms(core: &Core, compute: DeviceId, held: &[Share]) -> Vec<Room> {
    let held = |device| held.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
    let may_be_used = |d: &&DeviceReading| d.id != DeviceId::Disk && !d.simulated && !submit::is_hidden(core, d.id);
    let known = core.frame.devices.iter().filter(may_be_used);
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
