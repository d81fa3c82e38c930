//! From what is asked of a model to where its blocks go: the one way, for what is shown beforehand and for what is done.

use serde::{Deserialize, Serialize};

use super::ask::{OffloadAsk, VirtualVram};
use super::budget::{AsStored, Load, Quotas, Room, quotas};
use super::error::{AskError, BudgetError};
use super::machine::Machine;
use super::pace::{Grounds, Pace, Task, Walk};
use super::pins::Pins;
use super::plan::OffloadPlan;
use super::planner::{self, DonorLink, Goal, Planned, Quota, Request, Stay, UnitCost, plan};
use super::ring::{self, SLOTS, counted, kept, taken, through_a_ring};
use super::shortage::Shortage;
use super::simulate::Staging;
use super::sweep::{self, Point};
use super::{Allocation, Parts, budget};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable, Effort, Precision};

/// Why what is asked cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// It does not add up.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// No placement keeps it.
    #[error(transparent)]
    Shortage(#[from] Shortage),
    /// Weights that stay and those that pass through are too much together.
    #[error("place weights on {device}: {needed} with {staging} of them for staging, but there is room for {capacity}")]
    Crowded {
        /// The device that computes.
        device: DeviceId,
        /// What the plan takes there.
        needed: Bytes,
        /// What of it is for blocks that pass through.
        staging: Bytes,
        /// What there is.
        capacity: Bytes,
    },
}

impl ProposalError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Budget(error) => error.hint(),
            Self::Shortage(error) => error.hint(),
            Self::Crowded { .. } => "let more leave it, or let virtual VRAM be `auto`".to_owned(),
        }
    }
}

/// A model to be placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its blocks: size on the compute device, seconds of computing in one walk through them.
    pub units: Vec<UnitCost>,
    /// Stored size over size on the compute device: what travels, compressed as it is stored.
    pub stored_share: f64,
    /// What the seconds rest on.
    pub grounds: Grounds,
    /// Walks through the blocks in a step.
    pub walks: u64,
    /// What a walk takes of the device that computes beyond weights, measured or else estimated; nothing where that matters to nobody.
    #[serde(default)]
    pub activations: Bytes,
}

impl Model {
    /// Returns a model whose weights are computed with in this precision on a device of this pace; `efforts` are those of each block in
    /// a step of so many walks.
    #[must_use]
    pub fn of(table: &BlockTable, efforts: &[Effort], walks: u64, precision: Precision, pace: &Pace) -> Self {
        let walks = walks.max(1);
        let task = |(block, effort): (&Block, &Effort)| Task {
            effort: effort.over(walks),
            bytes: block.bytes_in(precision),
            products: block.products(),
        };
        let once: Vec<Task> = table.blocks().iter().zip(efforts).map(task).collect();
        let walk = Self::walk(table, efforts, walks);
        let (seconds, grounds) = pace.seconds(walk.weights, &once);
        let stay = table.blocks().iter().map(|block| if block.pinned { Stay::Pinned } else { Stay::Movable });
        let unit = |(((task, block), seconds), stay): (((&Task, &Block), f64), Stay)| UnitCost {
            bytes: task.bytes,
            stored: block.bytes(),
            expanded: block.expanded_in(precision),
            seconds,
            stay,
        };
        let units: Vec<UnitCost> = once.iter().zip(table.blocks()).zip(seconds).zip(stay).map(unit).collect();
        let whole: Bytes = units.iter().map(|u| u.bytes).sum();
        let stored_share = table.bytes().get() as f64 / whole.get().max(1) as f64;
        Self { units, stored_share, grounds, walks, activations: Bytes::ZERO }
    }

    /// Returns what one walk through these blocks is, where a step of so many computes so much.
    #[must_use]
    pub fn walk(table: &BlockTable, efforts: &[Effort], walks: u64) -> Walk {
        let weights = table.blocks().iter().fold(0u64, |n, block| n.saturating_add(block.elements()));
        Walk { weights, flops: efforts.iter().map(Effort::flops).sum::<f64>() / walks.max(1) as f64 }
    }

    /// Returns what weights of this size on the compute device take where they are stored.
    #[must_use]
    #[expect(clippy::cast_sign_loss, reason = "sizes and shares are positive")]
    pub fn as_stored(&self, bytes: Bytes) -> Bytes {
        Bytes((bytes.get() as f64 * self.stored_share).ceil() as u64)
    }

    /// Returns whether every block is stored as it is computed with.
    pub(super) fn is_as_stored(&self) -> bool {
        self.units.iter().all(|unit| unit.expanded == Bytes::ZERO && unit.bytes == unit.stored)
    }

    /// Returns the blocks that pass through staging memory.
    pub(super) fn streamed<'a>(&'a self, plan: &'a OffloadPlan) -> impl Iterator<Item = &'a UnitCost> {
        self.units.iter().zip(&plan.homes).filter(|(_, home)| **home != plan.compute).map(|(unit, _)| unit)
    }

    /// Returns the memory beside the ring that blocks which are streamed are expanded into, one after the other.
    #[must_use]
    pub fn scratch(&self, plan: &OffloadPlan) -> Bytes {
        self.streamed(plan).map(|unit| unit.expanded).max().unwrap_or_default()
    }

    /// Returns a plan whose staging memory is all that blocks pass through: the ring, in which they lie as they are stored, and the
    /// scratch beside it.
    fn with_scratch(&self, mut planned: Planned) -> Planned {
        if planned.staging > Bytes::ZERO {
            let stored = self.streamed(&planned.plan).map(|unit| unit.stored).max();
            let ring = self.as_stored(planned.staging).max(stored.unwrap_or_default());
            planned.staging = ring + self.scratch(&planned.plan);
        }
        planned
    }

    /// Returns how large a ring may be, in weights as they are computed with, where what blocks pass through may take so much.
    #[expect(clippy::cast_sign_loss, reason = "sizes and shares are positive")]
    fn ring_within(&self, room: Bytes, plan: &OffloadPlan) -> Bytes {
        Bytes((room.saturating_sub(self.scratch(plan)).get() as f64 / self.stored_share.max(f64::MIN_POSITIVE)) as u64)
    }

    /// Returns how much more than slots for two of the largest block that may come to.
    fn surplus(&self) -> Bytes {
        let may_leave = |n: &usize| self.units[*n].stay != Stay::Pinned;
        let most = |size: &dyn Fn(usize) -> Bytes| (0..self.units.len()).filter(may_leave).map(size).max().unwrap_or_default();
        let slots = Staging::Slots(SLOTS).bytes(Some(most(&|n| self.units[n].bytes)));
        let scratch = most(&|n| self.units[n].expanded);
        let ring = self.as_stored(slots).max(most(&|n| self.units[n].stored));
        (ring + scratch).saturating_sub(slots)
    }

    /// Returns the size of all blocks on the compute device.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.units.iter().map(|u| u.bytes).sum()
    }
}

/// Returns where the blocks go, and what a step will take. Who leaves it to us how much leaves a GPU has room for activations left
/// on it, where that is possible at all: they are expected, and not known.
pub fn propose(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Result<Planned, ProposalError> {
    let with_room = machine.with_room_for_activations(ask, compute, model);
    let roomy = with_room.and_then(|machine| place(ask, compute, model, &machine).ok());
    roomy.map_or_else(|| place(ask, compute, model, machine), Ok)
}

fn place(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Result<Planned, ProposalError> {
    let (request, quotas) = request(ask, compute, model, machine)?;
    let planned = plan(&request)?;
    let capacity = capacity(compute, machine).unwrap_or(quotas.compute.most);
    let most = model.ring_within(capacity.saturating_sub(kept(&planned.plan, model)), &planned.plan);
    let ringed = model.with_scratch(through_a_ring(&request, planned, model, most));
    let planned = counted(&request, &ringed, ringed.clone(), model, to_stay(&request, model));
    let needed = taken(&planned, model);
    let planned = in_a_step(planned, model, machine);
    if needed > capacity {
        return Err(ProposalError::Crowded { device: compute, needed, staging: planned.staging, capacity });
    }
    Ok(planned)
}

/// Returns the smallest virtual VRAM that [`propose`] finds a placement for: so much of what fits is tried until a byte less does not.
pub fn smallest(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Result<Bytes, ProposalError> {
    let leaving = leaving(ask, compute);
    let placed = |bytes| propose(&leaving(bytes), compute, model, machine).map(|_| bytes);
    if placed(Bytes::ZERO).is_ok() {
        return Ok(Bytes::ZERO);
    }
    let request = whatever_leaves(&leaving(model.bytes()), compute, model, machine)?;
    let free = capacity(compute, machine).unwrap_or(model.bytes());
    let (low, high) = sweep::budgets(&request, free.saturating_sub(model.surplus()));
    sweep::least(low, high, placed)
}

/// Returns the asks for amounts that leave to the donors of an ask: those that it lists, or that it names.
fn leaving(ask: &OffloadAsk, compute: DeviceId) -> impl Fn(Bytes) -> OffloadAsk {
    let listed = match &ask.expert {
        Some(Allocation::Listed(listed)) => listed.devices().into_iter().filter(|d| *d != compute).collect(),
        Some(Allocation::Auto) | None => Vec::new(),
    };
    let donors = if listed.is_empty() { ask.donors_of(compute) } else { listed };
    let pins = ask.pins.clone();
    move |bytes| OffloadAsk { virtual_vram: VirtualVram::AtLeast(bytes), expert: None, donors: donors.clone(), pins: pins.clone() }
}

/// Returns the question of what leaves, whatever amount that is, and whether or not the donors have room for all of it.
fn whatever_leaves(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Result<Request, ProposalError> {
    let units = pinned(&ask.pins, compute, model)?;
    let donors = donors(ask, compute, &units, &budget::all_of(ask, compute, load(model, &units), &machine.rooms)?, model, machine);
    Ok(question((compute, units), model, machine, Goal::Free(Bytes::ZERO), donors))
}

/// Returns what may stay where an amount is to leave, and everything where something else is wanted.
fn to_stay(request: &Request, model: &Model) -> Bytes {
    match request.goal {
        Goal::Free(bytes) => model.bytes().saturating_sub(bytes),
        Goal::Hold(_) | Goal::Quotas { .. } => model.bytes(),
    }
}

/// Returns what weights may take of a device, if anything is known of it.
fn capacity(device: DeviceId, machine: &Machine) -> Option<Bytes> {
    machine.rooms.iter().find(|r| r.device == device).map(Room::capacity)
}

/// Returns what a step takes for each of `points` amounts that leave, from nothing to all, whatever there is room for.
pub fn curve(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine, points: u32) -> Result<Vec<Point>, ProposalError> {
    let request = whatever_leaves(&leaving(ask, compute)(model.bytes()), compute, model, machine)?;
    let walks = model.walks as f64;
    let step = |p: Point| Point { step_s: p.step_s * walks, lower_s: p.lower_s * walks, ..p };
    let free = capacity(compute, machine).unwrap_or(model.bytes());
    let ringed = |planned: Planned| {
        let most = model.ring_within(free.saturating_sub(kept(&planned.plan, model)), &planned.plan);
        model.with_scratch(through_a_ring(&request, planned, model, most))
    };
    let counted = |ringed: &Planned, from, freed| counted(&request, ringed, from, model, model.bytes() - freed);
    Ok(sweep::sweep_through(&request, points, ringed, counted).into_iter().map(step).collect())
}

/// Returns what to expect of blocks where a plan has put them, with the staging memory that there is for them, or else the one that a
/// plan would have.
#[must_use]
pub fn expect(plan: &OffloadPlan, model: &Model, machine: &Machine, staging: Option<Bytes>) -> Planned {
    let mut donors: Vec<DeviceId> = plan.homes.iter().copied().filter(|home| *home != plan.compute).collect();
    donors.sort_unstable();
    donors.dedup();
    let donors = donors.into_iter().map(|device| link(device, Bytes(u64::MAX), model, machine)).collect();
    let question = question((plan.compute, model.units.clone()), model, machine, Goal::Free(Bytes::ZERO), donors);
    let largest = model.streamed(plan).map(|unit| unit.bytes).max();
    if let (Some(staging), Some(largest)) = (staging, largest) {
        let ring = model.ring_within(staging, plan).max(largest);
        return in_a_step(Planned { plan: plan.clone(), staging, predicted: ring::expect(&question, plan, ring) }, model, machine);
    }
    let planned = Planned { plan: plan.clone(), staging: question.staging.bytes(largest), predicted: planner::expect(&question, plan) };
    in_a_step(model.with_scratch(through_a_ring(&question, planned, model, Bytes(u64::MAX))), model, machine)
}

/// Turns what is expected of one walk through the blocks into what is expected of a step. It rests on measurements where
/// the device that computes was measured, and every donor that holds anything.
fn in_a_step(mut planned: Planned, model: &Model, machine: &Machine) -> Planned {
    let walks = model.walks as f64;
    let predicted = &mut planned.predicted;
    predicted.first_step_s += predicted.step_s * (walks - 1.0);
    for seconds in [&mut predicted.step_s, &mut predicted.compute_s, &mut predicted.lower_s, &mut predicted.upper_s] {
        *seconds *= walks;
    }
    for link in &mut predicted.links {
        // What travels is what is stored.
        let there = model.units.iter().zip(&planned.plan.homes).filter(|(_, home)| **home == link.device);
        let stored: Bytes = there.map(|(unit, _)| unit.stored).sum();
        link.streamed = Bytes(stored.get().saturating_mul(model.walks));
        link.transfer_s *= walks;
    }
    predicted.streamed = predicted.links.iter().map(|link| link.streamed).sum();
    predicted.calibrated = model.grounds.is_measured() && predicted.links.iter().all(|link| machine.speed(link.device).measured);
    planned
}

/// Returns the question to the planner.
pub fn request(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Result<(Request, Quotas), ProposalError> {
    let units = pinned(&ask.pins, compute, model)?;
    let quotas = quotas(ask, compute, load(model, &units), &machine.rooms)?;
    let donors = donors(ask, compute, &units, &quotas.donors, model, machine);
    let capacity = capacity(compute, machine).unwrap_or(quotas.compute.most).saturating_sub(model.surplus());
    let goal = goal(ask, &quotas, capacity, on_average(&units));
    Ok((question((compute, units), model, machine, goal, donors), quotas))
}

/// Returns what the model is in sums.
fn load(model: &Model, units: &[UnitCost]) -> Load {
    let sum = |wanted: fn(&Stay) -> bool| units.iter().filter(|u| wanted(&u.stay)).map(|u| u.bytes).sum();
    Load { total: model.bytes(), fixed: sum(|s| *s == Stay::Pinned), away: sum(|s| matches!(s, Stay::At(_))), stored: densest(units) }
}

/// Returns the donors with what they may hold. Who is only pinned to, takes nothing else.
fn donors(
    ask: &OffloadAsk,
    compute: DeviceId,
    units: &[UnitCost],
    quotas: &[budget::Quota],
    model: &Model,
    machine: &Machine,
) -> Vec<DonorLink> {
    let told = |device: DeviceId| units.iter().filter(|u| u.stay == Stay::At(device)).map(|u| u.stored).sum();
    let named = |device: DeviceId| matches!(ask.expert, Some(Allocation::Listed(_))) || ask.donors_of(compute).contains(&device);
    let most = |quota: &budget::Quota| if named(quota.device) { quota.held } else { quota.held.min(told(quota.device)) };
    quotas.iter().map(|quota| link(quota.device, most(quota), model, machine)).collect()
}

/// Returns the units with those that must live somewhere told so.
fn pinned(pins: &Pins, compute: DeviceId, model: &Model) -> Result<Vec<UnitCost>, BudgetError> {
    let mut units = model.units.clone();
    let last = BlockIndex(u32::try_from(units.len().saturating_sub(1)).unwrap_or(u32::MAX));
    for (block, device) in pins.iter() {
        let unit = units.get_mut(block.0 as usize).ok_or(AskError::NoBlock { block, last })?;
        unit.stay = match unit.stay {
            _ if device == compute => Stay::Pinned,
            Stay::Pinned => return Err(AskError::NeverLeaves { block, device }.into()),
            Stay::Movable | Stay::At(_) => Stay::At(device),
        };
    }
    Ok(units)
}

/// Returns the unit that takes the least room on a donor for what it is: by it no room is taken for too little.
fn densest(units: &[UnitCost]) -> AsStored {
    let movable = units.iter().filter(|u| u.stay != Stay::Pinned && u.bytes > Bytes::ZERO && u.stored > Bytes::ZERO);
    movable.map(|u| AsStored { computed: u.bytes, stored: u.stored }).min_by(AsStored::by_density).unwrap_or(AsStored::SAME)
}

/// Returns what all units that may leave take, on both sides.
pub(super) fn on_average(units: &[UnitCost]) -> AsStored {
    let sum = |size: fn(&UnitCost) -> Bytes| units.iter().filter(|u| u.stay != Stay::Pinned).map(size).sum();
    let sizes = AsStored { computed: sum(|u| u.bytes), stored: sum(|u| u.stored) };
    if sizes.computed == Bytes::ZERO || sizes.stored == Bytes::ZERO { AsStored::SAME } else { sizes }
}

fn question((compute, units): (DeviceId, Vec<UnitCost>), model: &Model, machine: &Machine, goal: Goal, donors: Vec<DonorLink>) -> Request {
    let calibrated = model.grounds.is_measured() && donors.iter().all(|d| machine.speed(d.device).measured);
    Request { compute, units, goal, staging: Staging::Slots(SLOTS), donors, calibrated }
}

/// The way from a donor. What travels is smaller than what it becomes, or larger.
fn link(device: DeviceId, capacity: Bytes, model: &Model, machine: &Machine) -> DonorLink {
    let bytes_per_second = machine.speed(device).bytes_per_second / model.stored_share.max(f64::MIN_POSITIVE);
    DonorLink { device, capacity, bytes_per_second, latency_s: machine.latency_s(device) }
}

fn goal(ask: &OffloadAsk, quotas: &Quotas, capacity: Bytes, average: AsStored) -> Goal {
    match (&ask.expert, ask.virtual_vram) {
        (Some(Allocation::Listed(listed)), _) => {
            // Shares are what each device is to hold; whole blocks seldom come out even, which the last one with more room makes up for.
            let has_more = |q: &&budget::Quota| q.held > average.stored(q.wanted);
            let last = quotas.donors.iter().rev().find(has_more).or(quotas.donors.last()).map(|q| q.device);
            let (rest, shares) = match listed.parts() {
                Parts::Percents(_) => (listed.rest().or(last), true),
                Parts::Bytes(_) | Parts::Fractions(_) => (listed.rest(), false),
            };
            let donors = quotas.donors.iter().map(|q| (q.device, if shares { average.stored(q.wanted) } else { q.held }));
            let here = if shares { quotas.compute.wanted } else { quotas.compute.most };
            let all = std::iter::once((quotas.compute.device, here)).chain(donors);
            Goal::Quotas { by_device: all.map(|(device, most)| Quota { device, most }).collect(), rest }
        }
        // What stays and what passes through must fit together.
        (Some(Allocation::Auto), _) | (None, VirtualVram::Auto) if quotas.leaving > Bytes::ZERO => Goal::Hold(capacity),
        (Some(Allocation::Auto) | None, _) => Goal::Free(quotas.leaving),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Speed;

    const CPU: DeviceId = DeviceId::Cpu;
    const GPU: DeviceId = DeviceId::Cuda(0);

    fn model() -> Model {
        let head = UnitCost { stay: Stay::Pinned, ..UnitCost::plain(Bytes::mib(16), 0.1) };
        let units = [vec![head], vec![UnitCost::plain(Bytes::mib(64), 0.1); 16]].concat();
        Model { units, stored_share: 1.0, grounds: Grounds::Steps, walks: 1, activations: Bytes::ZERO }
    }

    /// The model where so much of each unit is expanded.
    fn expanding(mut model: Model, expanded: impl Fn(&UnitCost) -> Bytes) -> Model {
        for unit in &mut model.units {
            unit.expanded = expanded(unit);
        }
        model
    }

    fn machine(mib: u64) -> Machine {
        let total = Bytes::mib(mib);
        let speed = Speed { bytes_per_second: 1e9, measured: true, ..Speed::assumed(DeviceId::Disk) };
        Machine {
            rooms: vec![Room { device: CPU, total, free: total, reserve: Bytes::ZERO, committed: Bytes::ZERO }],
            speeds: vec![(DeviceId::Disk, speed)],
            pace: Pace::assumed(CPU),
            latencies: Vec::new(),
        }
    }

    fn ask(virtual_vram: &str) -> OffloadAsk {
        OffloadAsk { virtual_vram: virtual_vram.parse().unwrap(), ..OffloadAsk::default() }
    }

    fn on(planned: &Planned, device: DeviceId) -> Bytes {
        let units = model().units;
        planned.plan.homes.iter().zip(&units).filter(|(home, _)| **home == device).map(|(_, u)| u.bytes).sum()
    }

    #[test]
    fn what_is_asked_leaves_and_the_rest_stays() {
        let guessed = propose(&ask("500MiB"), CPU, &model(), &Machine { speeds: Vec::new(), ..machine(4096) }).unwrap();
        assert_eq!((on(&guessed, DeviceId::Disk), on(&guessed, CPU)), (Bytes::mib(512), Bytes::mib(528)));
        assert_eq!((guessed.staging, guessed.predicted.calibrated), (Bytes::mib(128), false));
        let planned = propose(&ask("0"), CPU, &model(), &machine(4096)).unwrap();
        assert_eq!((on(&planned, CPU), planned.staging), (model().bytes(), Bytes::ZERO));
    }

    #[test]
    fn what_passes_through_is_no_memory_on_top_of_what_was_asked_for() {
        // 540 MiB may stay: so much do those that stay and the ring take, and a step still waits for nothing.
        let planned = propose(&ask("500MiB"), CPU, &model(), &machine(4096)).unwrap();
        let taken = on(&planned, CPU) + planned.staging;
        assert!(taken <= Bytes::mib(540) && on(&planned, CPU) > Bytes::mib(300), "{taken}: {planned:?}");
        assert!(planned.predicted.calibrated && (planned.predicted.step_s - planned.predicted.compute_s).abs() < 1e-9);
        let asked = |goal: &str, machine: &Machine, model: &Model| {
            let planned = propose(&ask(goal), CPU, model, machine).unwrap();
            (on(&planned, CPU) + planned.staging, planned.predicted.step_s)
        };
        // A disk that is hardly fast enough has nothing to give.
        let slow = |speed| Machine {
            speeds: vec![(DeviceId::Disk, Speed { bytes_per_second: speed, ..machine(0).speeds[0].1 })],
            ..machine(4096)
        };
        let (most, least) = (asked("500MiB", &slow(3.3e8), &model()), asked("500MiB", &slow(2e9), &model()));
        assert!(most.0 > Bytes::mib(540) && least.0 <= Bytes::mib(540), "{most:?} {least:?}");
        // Nor has a donor without room.
        let mut full = machine(4096);
        full.rooms.push(Room { device: DeviceId::Disk, total: Bytes::mib(520), free: Bytes::mib(520), ..full.rooms[0] });
        assert_eq!(asked("500MiB", &full, &model()).0, Bytes::mib(528 + 64));
        // Where more than what is stored comes to lie beside the ring, or nothing was measured, it comes on top.
        let expanded = expanding(model(), |_| Bytes::mib(64));
        assert!(asked("500MiB", &machine(4096), &expanded).0 > Bytes::mib(540));
    }

    #[test]
    fn room_for_what_passes_through_costs_no_time() {
        // Of a block in which a byte is expanded nothing is counted in.
        let uneven = |n: usize, unit: UnitCost| {
            let bytes = if n.is_multiple_of(3) { unit.bytes } else { Bytes(unit.bytes.get() / 4) };
            UnitCost { stay: unit.stay, ..UnitCost::plain(bytes, if n < 9 { 0.15 } else { 0.05 }) }
        };
        let units: Vec<UnitCost> = model().units.into_iter().enumerate().map(|(n, unit)| uneven(n, unit)).collect();
        let within = Model { units, ..model() };
        let on_top = expanding(within.clone(), |_| Bytes(1));
        let mut spared = 0;
        for speed in [1.5e8, 2e8, 2.5e8, 3e8, 4e8, 6e8, 1e9] {
            let speed = Speed { bytes_per_second: speed, ..machine(0).speeds[0].1 };
            let machine = Machine { speeds: vec![(DeviceId::Disk, speed)], ..machine(4096) };
            let [within, on_top] = [&within, &on_top].map(|model| {
                let planned = propose(&ask("300MiB"), CPU, model, &machine).unwrap();
                (planned.predicted.step_s, taken(&planned, model))
            });
            assert!(within.0 <= on_top.0 * (1.0 + 1e-9) && within.1 <= on_top.1, "{machine:?}: {within:?} {on_top:?}");
            spared += usize::from(within.1 < on_top.1);
        }
        assert!(spared > 2, "{spared}");
    }

    #[test]
    fn what_is_expanded_takes_memory_beside_the_ring() {
        let unit = |unit: UnitCost| UnitCost { stored: Bytes(2 * unit.bytes.get()), ..unit };
        let units: Vec<UnitCost> = model().units.into_iter().map(unit).collect();
        let halved = expanding(Model { units, stored_share: 2.0, ..model() }, |unit| unit.bytes);
        let planned = propose(&ask("500MiB"), CPU, &halved, &machine(4096)).unwrap();
        // Two blocks of 128 MiB as they are stored, and one of 64 as it is computed with.
        assert_eq!((on(&planned, CPU), planned.staging), (Bytes::mib(528), Bytes::mib(320)));
        assert_eq!(halved.scratch(&planned.plan), Bytes::mib(64));
        for mib in [500, 600, 700, 1000] {
            let planned = propose(&ask("auto"), CPU, &halved, &machine(mib)).unwrap();
            assert!(on(&planned, CPU) + planned.staging <= Bytes::mib(mib), "{mib}: {}", planned.staging);
        }
        let smallest = smallest(&ask("auto"), CPU, &halved, &machine(600)).unwrap();
        let at_least = |bytes: u64| propose(&ask(&format!("{bytes}b")), CPU, &halved, &machine(600));
        assert!(at_least(smallest.get()).is_ok() && at_least(smallest.get() - 1).is_err());
    }

    #[test]
    fn a_ring_that_pays_never_takes_more_than_there_is() {
        let unit = |unit: UnitCost| UnitCost { stored: Bytes(2 * unit.bytes.get()), ..unit };
        let units: Vec<UnitCost> = half_large().units.into_iter().map(unit).collect();
        let halved = expanding(Model { units, stored_share: 2.0, ..model() }, |unit| unit.bytes);
        let everything = OffloadAsk { donors: vec![DeviceId::Disk], ..ask(&format!("{}b", halved.bytes().get())) };
        let mut steps = Vec::new();
        for mib in [330, 500, 600, 800, 1000, 4000] {
            let speed = Speed { bytes_per_second: 2e9, measured: true, ..Speed::assumed(DeviceId::Disk) };
            let machine = Machine { rooms: both(mib), speeds: vec![(DeviceId::Disk, speed)], ..machine(mib) };
            let planned = propose(&everything, GPU, &halved, &machine).unwrap();
            assert!(planned.staging + Bytes::mib(2) <= Bytes::mib(mib), "{mib}: {}", planned.staging);
            steps.push(planned.predicted.step_s);
        }
        assert!(steps.is_sorted_by(|a, b| a >= b) && steps[5] < steps[0], "{steps:?}");
    }

    #[test]
    fn auto_leaves_room_for_activations_on_a_gpu_and_amounts_are_taken_as_they_are() {
        let on_gpu = |activations: u64| {
            let model = Model { activations: Bytes::mib(activations), ..model() };
            let room = |device, mib| Room { device, total: Bytes::mib(mib), free: Bytes::mib(mib), ..machine(0).rooms[0] };
            let machine = Machine { rooms: vec![room(GPU, 1100), room(CPU, 4096)], ..machine(0) };
            move |text: &str| {
                let planned = propose(&OffloadAsk { donors: vec![CPU], ..ask(text) }, GPU, &model, &machine).unwrap();
                on(&planned, GPU) + planned.staging
            }
        };
        let (none, some, all) = (on_gpu(0)("auto"), on_gpu(300)("auto"), on_gpu(9000)("auto"));
        // 1040 MiB of weights; 300 MiB and a tenth leave 770.
        assert!(none == Bytes::mib(1040) && some <= Bytes::mib(770) && some > Bytes::mib(600), "{none} and {some}");
        assert_eq!(all, none, "what cannot be left is not");
        assert_eq!(on_gpu(300)("64MiB"), on_gpu(0)("64MiB"));
    }

    #[test]
    fn auto_leaves_room_for_what_passes_through() {
        let planned = propose(&ask("auto"), CPU, &model(), &machine(600)).unwrap();
        assert_eq!(on(&planned, CPU) + planned.staging, Bytes::mib(16 + 7 * 64 + 128));
        let smallest = smallest(&ask("auto"), CPU, &model(), &machine(600)).unwrap();
        // So much does not fit; what blocks pass through takes no more, since others leave for it.
        assert_eq!(smallest, Bytes::mib(1040 - 600));
        let at_least = |bytes: u64| propose(&ask(&format!("{bytes}b")), CPU, &model(), &machine(600));
        assert!(at_least(smallest.get()).is_ok() && at_least(smallest.get() - 1).is_err());
        let slow = Machine { speeds: Vec::new(), ..machine(600) };
        let guessed = super::smallest(&ask("auto"), CPU, &model(), &slow).unwrap();
        assert_eq!(guessed, Bytes(Bytes::mib(8 * 64).get() + 1), "where speeds are guessed, two pass through");
        let kept = propose(&ask("auto"), CPU, &model(), &machine(4096)).unwrap();
        assert_eq!(on(&kept, CPU), model().bytes(), "where there is room, nothing leaves");
    }

    #[test]
    fn shares_of_a_model_are_kept_to_a_block() {
        let shares = |text: &str, machine: &Machine| {
            let ask = OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
            let planned = propose(&ask, CPU, &model(), machine).unwrap();
            [CPU, DeviceId::Disk, DeviceId::Cuda(1)].map(|device| on(&planned, device).get() >> 20)
        };
        let mut machine = machine(4096);
        machine.rooms.push(Room { device: DeviceId::Cuda(1), ..machine.rooms[0] });
        assert_eq!(shares("cpu,25%;disk,*", &machine), [208, 832, 0]);
        assert_eq!(shares("cpu,25%;disk,75%", &machine), [208, 832, 0]);
        assert_eq!(shares("cpu,50%;cuda:1,25%;disk,25%", &machine), [464, 320, 256]);
        assert_eq!(shares("disk,50%;cpu,*", &machine), [528, 512, 0]);
    }

    /// A machine with two cards beside the processor, of so many MiB, and how fast each donor is.
    fn with_cards(mib: [u64; 2], speeds: [f64; 3]) -> Machine {
        let mut machine = machine(4096);
        let card =
            |(n, mib): (u16, u64)| Room { device: DeviceId::Cuda(n), total: Bytes::mib(mib), free: Bytes::mib(mib), ..machine.rooms[0] };
        let cards: Vec<Room> = (1..).zip(mib).map(card).collect();
        machine.rooms.extend(cards);
        let speed = |bytes_per_second| Speed { bytes_per_second, ..machine.speeds[0].1 };
        let donors = [DeviceId::Cuda(1), DeviceId::Cuda(2), DeviceId::Disk];
        machine.speeds = donors.into_iter().zip(speeds.map(speed)).collect();
        machine
    }

    #[test]
    fn a_list_is_kept_to_a_block_whoever_is_fastest() {
        let kept_to = |text: &str, machine: &Machine| {
            let ask = OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
            let planned = propose(&ask, CPU, &model(), machine).unwrap();
            [CPU, DeviceId::Cuda(1), DeviceId::Cuda(2), DeviceId::Disk].map(|device| on(&planned, device).get() >> 20)
        };
        for speeds in [[1e9, 2e9, 9e9], [9e9, 1e9, 2e9], [2e9, 9e9, 1e9]] {
            let machine = with_cards([4096; 2], speeds);
            assert_eq!(kept_to("cpu,208MiB;cuda:1,128MiB;cuda:2,64MiB;disk,*", &machine), [208, 128, 64, 640], "{speeds:?}");
            assert_eq!(kept_to("cpu,208MiB;disk,128MiB;cuda:1,*", &machine), [208, 704, 0, 128], "{speeds:?}");
            assert_eq!(kept_to("cpu,20%;cuda:1,40%;disk,40%", &machine), [208, 384, 0, 448], "{speeds:?}");
        }
        // What the last one has no room for is another's.
        assert_eq!(kept_to("cpu,20%;cuda:1,20%;cuda:2,60%", &with_cards([4096, 100], [1e9; 3])), [208, 768, 64, 0]);
        assert_eq!(kept_to("cpu,20%;cuda:2,60%;cuda:1,20%", &with_cards([4096, 100], [1e9; 3])), [208, 768, 64, 0]);
    }

    #[test]
    fn donors_take_all_that_they_are_given_of_unequal_blocks() {
        let unit = |n: u64| UnitCost::plain(Bytes::mib(4 + (n * 37) % 90), 0.01);
        let uneven = Model { units: (0..40).map(unit).collect(), ..model() };
        let whole = uneven.bytes();
        for percent in (10..100u64).step_by(5) {
            let ask = OffloadAsk { expert: Some(format!("disk,{percent}%;cpu,*").parse().unwrap()), ..OffloadAsk::default() };
            let planned = propose(&ask, CPU, &uneven, &machine(4096)).unwrap();
            let (left, given) = (ring::left(&planned.plan, &uneven), Bytes(whole.get() / 100 * percent));
            assert!(left <= given + Bytes(100) && left.get() >= given.get() / 100 * 97, "{percent} %: {left} of {given}");
        }
    }

    #[test]
    fn donors_without_room_for_all_still_tell_the_least_and_the_curve() {
        // The processor has room for 700 of 1040 MiB, the card for 500.
        let mut machine = with_cards([500, 64], [1e9; 3]);
        machine.rooms[0] = Room { total: Bytes::mib(700), free: Bytes::mib(700), ..machine.rooms[0] };
        let ask = OffloadAsk { donors: vec![DeviceId::Cuda(1)], ..ask("auto") };
        let least = smallest(&ask, CPU, &model(), &machine).unwrap();
        let leaving = |bytes| OffloadAsk { virtual_vram: VirtualVram::AtLeast(bytes), ..ask.clone() };
        assert!(propose(&leaving(least), CPU, &model(), &machine).is_ok(), "{least}");
        assert!(propose(&leaving(least - Bytes(1)), CPU, &model(), &machine).is_err(), "{least}");
        let points = curve(&ask, CPU, &model(), &machine, 17).unwrap();
        assert_eq!(points.last().map(|point| point.freed), Some(Bytes::mib(448)), "the card holds seven blocks");
        // Those that a list names are asked, and no others.
        let list = OffloadAsk { expert: Some("cpu,600MiB;cuda:1,*".parse().unwrap()), donors: Vec::new(), ..ask.clone() };
        assert_eq!(smallest(&list, CPU, &model(), &machine).unwrap(), least);
    }

    /// Half of this network takes long and is small, the other half is large and soon done with.
    fn half_large() -> Model {
        let (small, large) = (UnitCost::plain(Bytes::mib(2), 0.1), UnitCost::plain(Bytes::mib(64), 0.001));
        let units = [vec![UnitCost { stay: Stay::Pinned, ..small }], vec![small; 19], vec![large; 20]].concat();
        Model { units, ..model() }
    }

    /// A card and the host, each of so much memory.
    fn both(mib: u64) -> Vec<Room> {
        let host = machine(mib).rooms[0];
        vec![Room { device: GPU, ..host }, host]
    }

    #[test]
    fn a_larger_ring_is_taken_where_a_step_is_much_faster_for_it() {
        let (gpu, model) = (GPU, half_large());
        let machine = |mib| Machine { rooms: both(mib), ..machine(mib) };
        let everything = OffloadAsk { donors: vec![DeviceId::Disk], ..ask(&format!("{}b", model.bytes().get())) };
        let roomy = propose(&everything, gpu, &model, &machine(4096)).unwrap();
        assert!(roomy.staging > Bytes::mib(128) && roomy.staging <= Bytes::mib(528), "{}", roomy.staging);
        let tight = propose(&everything, gpu, &model, &machine(140)).unwrap();
        assert!(tight.staging <= Bytes::mib(138) && tight.predicted.step_s > 1.05 * roomy.predicted.step_s);
        let guessed = propose(&everything, gpu, &model, &Machine { speeds: Vec::new(), ..machine(4096) }).unwrap();
        assert_eq!(guessed.staging, Bytes::mib(128));
        assert_eq!(expect(&roomy.plan, &model, &machine(4096), None), roomy);
        // Where the processor computes, a larger one would have to save as much of a step as it takes of the memory.
        let sparing = propose(&everything, CPU, &model, &machine(4096)).unwrap();
        assert!(sparing.staging < roomy.staging, "{} and {}", sparing.staging, roomy.staging);
        let (more, less) = (roomy.staging - sparing.staging, sparing.predicted.step_s - roomy.predicted.step_s);
        assert!(more.get() as f64 / model.bytes().get() as f64 > less / roomy.predicted.step_s, "{more} would save {less} s");
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_its_numbers() {
        let guessed = Machine { speeds: Vec::new(), ..machine(580) };
        let error = propose(&ask("500MiB"), CPU, &model(), &guessed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "place weights on cpu: 656.0 MiB with 128.0 MiB of them for staging, but there is room for 580.0 MiB"
        );
        assert!(propose(&ask("100MiB"), CPU, &model(), &machine(600)).is_err());
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn blocks_live_where_they_are_pinned() {
        let mut machine = machine(4096);
        machine.rooms.push(Room { device: DeviceId::Cuda(1), ..machine.rooms[0] });
        machine.rooms[1].free = Bytes::mib(150);
        let pinned = |text: &str, pins: &str| {
            let mut ask = ask(text);
            ask.pins = pins.parse().unwrap();
            propose(&ask, CPU, &model(), &machine).map(|planned| planned.plan.homes)
        };
        let homes = pinned("0", "cuda:1,3+9").unwrap();
        assert_eq!((0..17).filter(|n| homes[*n] == DeviceId::Cuda(1)).collect::<Vec<_>>(), [3, 9]);
        assert!(homes.iter().all(|home| *home != DeviceId::Disk), "nothing else leaves");
        let homes = pinned("500MiB", "cuda:1,3;cpu,4-6").unwrap();
        assert_eq!((homes[3], &homes[4..7]), (DeviceId::Cuda(1), &[CPU; 3][..]));
        assert_eq!(homes.iter().filter(|home| **home == DeviceId::Disk).count(), 7, "what is pinned away counts among what leaves");
        assert_eq!(pinned("auto", "disk,16").unwrap().iter().filter(|home| **home != CPU).count(), 1);
        for (amount, pins, message) in [
            ("0", "cuda:1,1-3", "keep what is pinned to cuda:1 there: 42.0 MiB over what it may hold"),
            ("0", "disk,17", "block 17 is pinned, but the last block is 16"),
            ("0", "disk,0", "block 0 never leaves the device that computes, so it cannot be pinned to disk"),
            ("0", "cuda:7,1", "there is no device cuda:7 here"),
        ] {
            let error = pinned(amount, pins).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(!error.hint().is_empty());
        }
        let listed =
            OffloadAsk { expert: Some("cpu,512MiB;disk,*".parse().unwrap()), pins: "cuda:1,1".parse().unwrap(), ..OffloadAsk::default() };
        assert!(propose(&listed, CPU, &model(), &machine).unwrap_err().to_string().starts_with("keep what is pinned to cuda:1 there"));
    }

    #[test]
    fn a_step_that_walks_twice_streams_twice() {
        let once = propose(&ask("500MiB"), CPU, &model(), &machine(4096)).unwrap().predicted;
        let twice = propose(&ask("500MiB"), CPU, &Model { walks: 2, ..model() }, &machine(4096)).unwrap().predicted;
        assert_eq!(twice.streamed, once.streamed + once.streamed);
        assert!((twice.step_s - 2.0 * once.step_s).abs() < 1e-9 && (twice.upper_s - 2.0 * once.upper_s).abs() < 1e-9);
        assert!((twice.first_step_s - once.first_step_s - once.step_s).abs() < 1e-9);
    }

    #[test]
    fn what_is_planned_is_what_is_expected_of_the_plan() {
        let planned = propose(&ask("500MiB"), CPU, &model(), &machine(4096)).unwrap();
        assert_eq!(expect(&planned.plan, &model(), &machine(4096), Some(planned.staging)), planned);
        // Through the memory that it was given for others that stay, not through that which those left would be given.
        let speed = Speed { bytes_per_second: 2.2e9, measured: true, ..Speed::assumed(DeviceId::Disk) };
        let (uneven, fast) = (half_large(), Machine { speeds: vec![(DeviceId::Disk, speed)], ..machine(4096) });
        for amount in ["1GiB", "900MiB", "600MiB"] {
            let planned = propose(&ask(amount), CPU, &uneven, &fast).unwrap();
            assert_eq!(expect(&planned.plan, &uneven, &fast, Some(planned.staging)), planned, "{amount}");
        }
        // Nothing comes from a disk of unknown speed, so nothing is uncertain.
        let here = propose(&ask("0"), CPU, &model(), &Machine { speeds: Vec::new(), ..machine(4096) }).unwrap();
        assert!(here.predicted.calibrated);
        let away = propose(&ask("500MiB"), CPU, &model(), &Machine { speeds: Vec::new(), ..machine(4096) }).unwrap();
        assert!(!away.predicted.calibrated);
    }

    #[test]
    fn the_curve_goes_from_nothing_to_everything() {
        let curve = curve(&ask("0"), CPU, &model(), &machine(600), 5).unwrap();
        let freed: Vec<u64> = curve.iter().map(|p| p.freed.get() >> 20).collect();
        assert_eq!(freed, [0, 256, 512, 768, 1024]);
        assert!(curve.windows(2).all(|w| w[0].step_s <= w[1].step_s));
    }

    #[test]
    fn the_curve_is_of_what_would_be_planned() {
        let at_least = |bytes: Bytes| ask(&format!("{}b", bytes.get()));
        let points = curve(&ask("0"), CPU, &model(), &machine(600), 33).unwrap();
        // What is asked to stay must fit by itself.
        let fits = |point: &Point| point.needed.max(model().bytes() - point.freed) <= Bytes::mib(600);
        let slow = Machine { speeds: machine(4096).speeds, ..machine(4096) };
        for point in curve(&ask("0"), CPU, &half_large(), &slow, 9).unwrap() {
            let planned = propose(&at_least(point.freed), CPU, &half_large(), &slow).unwrap();
            let share = planned.predicted.step_s / point.step_s;
            assert!((1.0..1.02).contains(&share), "{}: {} is {share} of {}", point.freed, planned.predicted.step_s, point.step_s);
        }
        for point in &points {
            assert_eq!(propose(&at_least(point.freed), CPU, &model(), &machine(600)).is_ok(), fits(point), "{point:?}");
        }
        let (model, machine) = (half_large(), Machine { rooms: both(4096), ..machine(4096) });
        let disk = OffloadAsk { donors: vec![DeviceId::Disk], ..ask("0") };
        for point in curve(&disk, GPU, &model, &machine, 9).unwrap() {
            let planned = propose(&OffloadAsk { donors: disk.donors.clone(), ..at_least(point.freed) }, GPU, &model, &machine).unwrap();
            let share = planned.predicted.step_s / point.step_s;
            assert!((1.0..1.02).contains(&share), "{}: {} is {share} of {}", point.freed, planned.predicted.step_s, point.step_s);
        }
    }

    /// The model as a file has it that takes so many halves of what it takes where it is computed with.
    fn in_halves(halves: u64) -> Model {
        let unit = |unit: UnitCost| UnitCost { stored: Bytes(unit.bytes.get() / 2 * halves), ..unit };
        Model { units: model().units.into_iter().map(unit).collect(), stored_share: halves as f64 / 2.0, ..model() }
    }

    #[test]
    fn donors_hold_what_is_stored() {
        let donor = DeviceId::Cuda(1);
        let with_donor = |mib| {
            let mut machine = machine(4096);
            machine.rooms.push(Room { device: donor, free: Bytes::mib(mib), ..machine.rooms[0] });
            machine
        };
        let lies = |ask: &OffloadAsk, halves, mib| {
            let model = in_halves(halves);
            let planned = propose(ask, CPU, &model, &with_donor(mib))?;
            let there = model.units.iter().zip(&planned.plan.homes).filter(|(_, home)| **home == donor);
            Ok::<_, ProposalError>(there.map(|(unit, _)| unit.stored).sum::<Bytes>())
        };
        let leaving = OffloadAsk { donors: vec![donor], ..ask("512MiB") };
        for (halves, needed) in [(1, 256), (2, 512), (4, 1024)] {
            assert_eq!(lies(&leaving, halves, needed), Ok(Bytes::mib(needed)), "{halves} halves");
            let error = lies(&leaving, halves, needed - 1).unwrap_err();
            let (needed, taken) = (Bytes::mib(needed), Bytes::mib(needed - 1));
            let text = format!("{needed} of weights leave cpu, but cuda:1 can take only {taken}: 1048576 bytes are missing");
            assert_eq!(error.to_string(), text, "{halves} halves");
        }
        // Of what a list gives a donor it takes whole blocks, as they are stored.
        for (text, halves, expected) in [
            ("cuda:1,300MiB;cpu,*", 1, 288),
            ("cuda:1,300MiB;cpu,*", 4, 256),
            ("cuda:1,300MiB;disk,*", 4, 256),
            ("cuda:1,0.1;disk,*", 1, 384),
            ("cpu,50%;cuda:1,50%", 1, 288),
            ("cpu,50%;cuda:1,50%", 4, 1152),
        ] {
            let listed = OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
            assert_eq!(lies(&listed, halves, 2048), Ok(Bytes::mib(expected)), "{text} in {halves} halves");
        }
        let pinned = OffloadAsk { pins: "cuda:1,1-3".parse().unwrap(), ..ask("0") };
        assert_eq!(lies(&pinned, 4, 384), Ok(Bytes::mib(384)));
        assert!(lies(&pinned, 4, 383).is_err());
    }

    #[test]
    fn what_travels_compressed_arrives_sooner() {
        let half = Model { stored_share: 0.5, ..model() };
        let transfer = |model: &Model| propose(&ask("1GiB"), CPU, model, &machine(4096)).unwrap().predicted.links[0].transfer_s;
        assert!((transfer(&half) * 2.0 - transfer(&model())).abs() < 1e-9);
    }
}
