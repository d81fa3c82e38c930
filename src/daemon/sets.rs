//! Loaded model sets: who uses them, how long they stay, and those that come and go without a job.
//!
//! What is loaded is the engines' word. Pins and times to live are the operator's, and outlive an engine: a set that is loaded
//! again is pinned as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ahead;
use super::core::Core;
use super::input::Asker;
use super::output::Output;
use super::state::Mode;
use super::supervision;
use crate::placement::Share;
use crate::placement::plan::total;
use crate::units::{Bytes, DeviceId, JobId, RunId, SessionId, Timestamp};
use crate::wire::status::{PartView, SharedPart};
use crate::wire::work::{FailedRun, LoadedSet};
use crate::wire::{Order, Reply, RunOrder, SetView};
use crate::workflow::{JobSpec, Kind, Refusal, SetId};

/// A set on a device.
pub(super) type Place = (DeviceId, SetId);

/// What operators have said of sets, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// Sets that stay whoever asks for their memory.
    pinned: BTreeSet<Place>,
    /// How long sets stay that no job uses.
    keeps: BTreeMap<Place, Duration>,
    /// When a job last used a set, or when it was loaded.
    used: BTreeMap<Place, Timestamp>,
    /// Sets that were told to leave and have not yet, with those who wait for it.
    leaving: Vec<(Place, Option<Asker>)>,
    /// Sets that are loaded without a job.
    loads: Vec<Load>,
    loads_before: i64,
}

/// Who wants a set loaded.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// A client, who waits for it.
    By(Asker),
    /// The profile, as its set of this place.
    Ahead(usize),
}

/// A set that is loaded without a job.
#[derive(Debug)]
struct Load {
    run: RunId,
    wanted: Wanted,
    spec: Box<JobSpec>,
    /// Whether the engine has been told.
    is_ordered: bool,
}

/// Returns all loaded sets, device after device, those that were used last first.
pub(super) fn views(core: &Core) -> Vec<SetView> {
    let loaded = core.engines.values().filter_map(|e| Some((e.device, e.memory.as_ref()?.sets.as_slice())));
    loaded.flat_map(|(device, sets)| sets.iter().map(move |set| view(core, device, set, sets))).collect()
}

fn view(core: &Core, device: DeviceId, set: &LoadedSet, beside: &[LoadedSet]) -> SetView {
    let place = (device, set.id.clone());
    let users = |copy: u64| beside.iter().filter(move |other| other.id != set.id && other.parts.iter().any(|p| p.copy == copy));
    let mut shared: Vec<SharedPart> = Vec::new();
    for part in &set.parts {
        let with: Vec<SetId> = users(part.copy).map(|other| other.id.clone()).collect();
        if !with.is_empty() && shared.iter().all(|s| s.copy != part.copy) {
            shared.push(SharedPart { copy: part.copy, role: part.role, with });
        }
    }
    let is_alone = |copy: u64| shared.iter().all(|s| s.copy != copy);
    let last_used = core.stock.used.get(&place).copied();
    let keep = core.stock.keeps.get(&place);
    let used_by = user(core, &place);
    SetView {
        name: set.name.clone(),
        family: set.family.clone(),
        device,
        bytes: set.parts.iter().map(|p| p.bytes).sum(),
        alone: set.parts.iter().filter(|p| is_alone(p.copy)).map(|p| p.bytes).sum(),
        components: set.parts.clone(),
        shared,
        used_by,
        last_used,
        pinned: core.stock.pinned.contains(&place),
        keep_s: keep.map(Duration::as_secs_f64),
        leaves: keep.zip(last_used).filter(|_| used_by.is_none()).map(|(keep, used)| used.plus(*keep)),
        id: set.id.clone(),
    }
}

/// Returns the job that uses a set now.
fn user(core: &Core, place: &Place) -> Option<JobId> {
    core.attempts.values().find(|a| a.device == place.0 && a.set == place.1 && a.is_with_engine()).map(|a| a.job)
}

/// Returns every copy of a part that an engine holds, once, with the names of the sets that use it.
pub(super) fn copies(sets: &[LoadedSet]) -> Vec<(Vec<&str>, &PartView)> {
    let mut copies: Vec<(Vec<&str>, &PartView)> = Vec::new();
    for (set, part) in sets.iter().flat_map(|set| set.parts.iter().map(move |part| (set, part))) {
        match copies.iter_mut().find(|(_, known)| known.copy == part.copy && known.device == part.device) {
            Some((names, _)) => names.push(&set.name),
            None => copies.push((vec![&set.name], part)),
        }
    }
    copies
}

/// Returns what the weights of all sets of an engine take of a device.
pub(super) fn weights_on(sets: &[LoadedSet], device: DeviceId) -> Bytes {
    copies(sets).into_iter().filter(|(_, part)| part.device == device).map(|(_, part)| part.bytes).sum()
}

/// Returns what an engine's weights take of each device that would become free if somebody asked for it.
pub(super) fn obtainable(core: &Core, compute: DeviceId) -> Vec<Share> {
    shares(core, compute, false)
}

/// Returns what an engine's pinned sets take of each device.
pub(super) fn kept(core: &Core, compute: DeviceId) -> Vec<Share> {
    shares(core, compute, true)
}

fn shares(core: &Core, compute: DeviceId, of_pinned: bool) -> Vec<Share> {
    let loaded = core.engines.get(&compute).and_then(|e| e.memory.as_ref()).map(|m| m.sets.as_slice()).unwrap_or_default();
    let is_pinned = |set: &LoadedSet| core.stock.pinned.contains(&(compute, set.id.clone()));
    let pinned: Vec<u64> = loaded.iter().filter(|set| is_pinned(set)).flat_map(|set| &set.parts).map(|part| part.copy).collect();
    let wanted = copies(loaded).into_iter().filter(|(_, part)| pinned.contains(&part.copy) == of_pinned);
    // What lies in the page cache is free already.
    let own = |part: &PartView| Share { device: part.device, bytes: part.bytes.saturating_sub(part.cached) };
    total(&[wanted.map(|(_, part)| own(part)).filter(|own| own.bytes > Bytes::ZERO).collect()])
}

/// Finds the loaded set that a client names: by name or number, with `@` and a device where that is needed.
pub(super) fn find(core: &Core, text: &str) -> Result<SetView, Refusal> {
    let (name, device) = match text.rsplit_once('@') {
        Some((name, device)) if device.parse::<DeviceId>().is_ok() => (name, device.parse::<DeviceId>().ok()),
        Some(_) | None => (text, None),
    };
    let fits = |set: &SetView| (set.id.0 == name || set.name == name) && device.is_none_or(|device| device == set.device);
    let mut found: Vec<SetView> = views(core).into_iter().filter(fits).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Refusal::new(Kind::NotFound, format!("no set `{text}` is loaded"), "`perilune sets list` shows those that are")),
        _ => {
            let names: Vec<String> = found.iter().map(|set| format!("{}@{}", set.id, set.device)).collect();
            let message = format!("`{text}` is the name of several sets: {}", names.join(", "));
            Err(Refusal::new(Kind::Usage, message, "give one by its number"))
        }
    }
}

/// Has a set stay whoever asks for its memory, or lets it leave again.
pub(super) fn pin(core: &mut Core, set: &SetView) {
    core.stock.pinned.insert((set.device, set.id.clone()));
    order(core, set.device, Order::Pin(set.id.clone()));
}

/// Lets a set leave again.
pub(super) fn unpin(core: &mut Core, set: &SetView) {
    core.stock.pinned.remove(&(set.device, set.id.clone()));
    order(core, set.device, Order::Unpin(set.id.clone()));
}

/// Says how long a set stays that no job uses.
pub(super) fn keep(core: &mut Core, set: &SetView, time: Option<Duration>) {
    let place = (set.device, set.id.clone());
    match time {
        Some(time) => drop(core.stock.keeps.insert(place, time)),
        None => drop(core.stock.keeps.remove(&place)),
    }
    core.news.sets = true;
}

fn order(core: &mut Core, device: DeviceId, order: Order) {
    core.news.sets = true;
    core.emit(Output::Order { device, order: Box::new(order) });
}

/// Has a set leave; whoever asks is answered when it has.
pub(super) fn unload(core: &mut Core, set: &SetView, asker: Option<Asker>) {
    core.stock.leaving.push(((set.device, set.id.clone()), asker));
    order(core, set.device, Order::Unload(set.id.clone()));
}

/// The engine says that a set has left, or why it stays.
pub(super) fn unloaded(core: &mut Core, device: DeviceId, set: &SetId, refusal: Option<&Refusal>) {
    let is_it = |(at, id): &Place| *at == device && id == set;
    let done: Vec<_> = core.stock.leaving.extract_if(.., |(place, _)| is_it(place)).collect();
    for asker in done.into_iter().filter_map(|(_, asker)| asker) {
        core.answer(asker, refusal.map_or(Ok(Reply::Done), |refusal| Err(refusal.clone())));
    }
}

/// An engine has started: it is told which sets stay.
pub(super) fn greet(core: &mut Core, device: DeviceId) {
    let pinned: Vec<SetId> = core.stock.pinned.iter().filter(|(at, _)| *at == device).map(|(_, set)| set.clone()).collect();
    for set in pinned {
        order(core, device, Order::Pin(set));
    }
}

/// An engine is gone, with all that it had loaded.
pub(super) fn lost(core: &mut Core, device: DeviceId, how: &str) {
    core.stock.used.retain(|(at, _), _| *at != device);
    let done: Vec<_> = core.stock.leaving.extract_if(.., |((at, _), _)| *at == device).collect();
    done.into_iter().filter_map(|(_, asker)| asker).for_each(|asker| core.answer(asker, Ok(Reply::Done)));
    let done: Vec<Load> = core.stock.loads.extract_if(.., |load| load.spec.compute == device).collect();
    for load in done {
        let refusal = Refusal::new(Kind::Failed, format!("the engine of {device} {how}"), "`perilune doctor` says what is missing");
        refuse(core, load.wanted, refusal);
    }
}

/// A job has used a set until now.
pub(super) fn used(core: &mut Core, device: DeviceId, set: SetId) {
    core.stock.used.insert((device, set), core.now);
    core.news.sets = true;
}

/// The engine says what it holds: sets that are new count as used now, and those that are gone are forgotten.
pub(super) fn held(core: &mut Core, device: DeviceId) {
    let sets = core.engines.get(&device).and_then(|e| Some(e.memory.as_ref()?.sets.iter().map(|set| set.id.clone()).collect::<Vec<_>>()));
    let (sets, now) = (sets.unwrap_or_default(), core.now);
    core.stock.used.retain(|(at, set), _| *at != device || sets.contains(set));
    for set in sets {
        core.stock.used.entry((device, set)).or_insert(now);
    }
    core.news.sets = true;
}

/// Returns whether sets are loaded that are to stay though no job uses them.
pub(super) fn holds(core: &Core, device: DeviceId) -> bool {
    let is_kept = |place: &Place| core.stock.pinned.contains(place) || core.stock.keeps.contains_key(place);
    let is_loading = core.stock.loads.iter().any(|load| load.spec.compute == device);
    is_loading || core.stock.used.keys().any(|place| place.0 == device && is_kept(place))
}

/// Returns the pinned sets that are loaded on a device.
pub(super) fn pinned_on(core: &Core, device: DeviceId) -> Vec<SetView> {
    views(core).into_iter().filter(|set| set.device == device && set.pinned).collect()
}

/// Returns the sets that leave when their time is over, each with that time.
fn leaving(core: &Core) -> impl Iterator<Item = (&Place, Timestamp)> {
    let stock = &core.stock;
    stock.keeps.iter().filter_map(move |(place, keep)| {
        let is_leaving = stock.leaving.iter().any(|(other, _)| other == place);
        let may = !stock.pinned.contains(place) && !is_leaving && user(core, place).is_none();
        stock.used.get(place).filter(|_| may).map(|used| (place, used.plus(*keep)))
    })
}

/// Returns when the next set leaves because its time is over.
pub(super) fn wake_at(core: &Core) -> Option<Timestamp> {
    leaving(core).map(|(_, at)| at).min()
}

/// Has those leave whose time is over.
pub(super) fn tick(core: &mut Core) {
    let due: Vec<Place> = leaving(core).filter(|(_, at)| *at <= core.now).map(|(place, _)| place.clone()).collect();
    for set in views(core).into_iter().filter(|set| due.contains(&(set.device, set.id.clone()))) {
        let time = Duration::from_secs_f64(set.keep_s.unwrap_or_default());
        core.notice("info", format!("set `{}` leaves {}: no job has used it for {time:?}", set.name, set.device), None);
        unload(core, &set, None);
    }
}

/// It is known what is to be loaded: has it done when the engine is there.
pub(super) fn load(core: &mut Core, asker: Asker, spec: Box<JobSpec>) {
    want(core, Wanted::By(asker), spec);
}

/// The same for a set of the profile.
pub(super) fn load_ahead(core: &mut Core, at: usize, spec: Box<JobSpec>) {
    want(core, Wanted::Ahead(at), spec);
}

fn want(core: &mut Core, wanted: Wanted, spec: Box<JobSpec>) {
    core.stock.loads_before += 1;
    let run = RunId(-core.stock.loads_before);
    core.stock.loads.push(Load { run, wanted, spec, is_ordered: false });
}

fn refuse(core: &mut Core, wanted: Wanted, refusal: Refusal) {
    match wanted {
        Wanted::By(asker) => core.answer(asker, Err(refusal)),
        Wanted::Ahead(at) => ahead::failed(core, at, &refusal),
    }
}

/// Has sets loaded whose engines are there, and starts the engines of the others. A busy engine does it after its job.
pub(super) fn start(core: &mut Core) {
    let waiting: Vec<DeviceId> = core.stock.loads.iter().filter(|load| !load.is_ordered).map(|load| load.spec.compute).collect();
    for device in waiting {
        match core.engines.get(&device).map(|e| e.mode) {
            None | Some(Mode::Absent) => supervision::start_engine(core, device),
            Some(Mode::Ready(_) | Mode::Assigning(_) | Mode::Busy(_)) => give(core, device),
            Some(Mode::Starting | Mode::Calibrating | Mode::Ending(_) | Mode::Backoff(_) | Mode::Broken(_)) => {}
        }
    }
}

fn give(core: &mut Core, device: DeviceId) {
    let engine = core.engines.get(&device).and_then(|e| e.about.as_deref());
    let known = engine.map(|engine| core.experience.of_engine(device, engine)).unwrap_or_default();
    let waits = |load: &&mut Load| !load.is_ordered && load.spec.compute == device;
    let Some(load) = core.stock.loads.iter_mut().find(waits) else { return };
    load.is_ordered = true;
    let order = RunOrder { run: load.run, job: JobId(0), spec: (*load.spec).clone(), targets: Vec::new(), known };
    core.emit(Output::Order { device, order: Box::new(Order::Load(Box::new(order))) });
}

/// Returns whether a set is loaded under this number.
pub(super) fn is_loading(core: &Core, run: RunId) -> bool {
    core.stock.loads.iter().any(|load| load.run == run)
}

/// The engine has loaded a set, or says why not.
pub(super) fn loaded(core: &mut Core, run: RunId, failure: Option<FailedRun>) {
    let Some(at) = core.stock.loads.iter().position(|load| load.run == run) else { return };
    let load = core.stock.loads.remove(at);
    let (device, id) = (load.spec.compute, SetId::of_job(&load.spec));
    match failure {
        None => {
            used(core, device, id.clone());
            let set: Vec<SetView> = views(core).into_iter().filter(|set| set.device == device && set.id == id).collect();
            match load.wanted {
                Wanted::By(asker) => core.answer(asker, Ok(Reply::Sets(set))),
                Wanted::Ahead(at) => set.iter().for_each(|set| ahead::loaded(core, at, set)),
            }
        }
        Some(failed) => refuse(core, load.wanted, Refusal { kind: failed.kind, message: failed.message, hint: failed.hint }),
    }
}

/// A client is gone: what it wants loaded and is not begun is not wanted any more.
pub(super) fn left(core: &mut Core, session: SessionId) {
    let is_theirs = |load: &Load| matches!(load.wanted, Wanted::By(asker) if asker.session == session);
    core.stock.loads.retain(|load| !is_theirs(load) || load.is_ordered);
}

/// The daemon ends.
pub(super) fn give_up(core: &mut Core) {
    for load in std::mem::take(&mut core.stock.loads) {
        let refusal = Refusal::new(Kind::Interrupted, "the daemon is ending, and the set is not loaded", "load it again");
        refuse(core, load.wanted, refusal);
    }
}
