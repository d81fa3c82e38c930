//! Works out where a job's weights would live. Reads headers, so it is done on a thread of its own.

use crate::devices::{SIMULATED, SimulatedGpu};
use crate::families::Role;
use crate::library::{Network, Roots, inventory, network, page_cache};
use crate::placement::ask::FullAsk;
use crate::placement::planner::UnitCost;
use crate::placement::propose::{curve, expect, smallest};
use crate::placement::sweep::Point;
use crate::placement::{Experience, Machine, Model, OffloadPlan, Planned, Room, learned, propose};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable};
use crate::wire::plan::{BlockView, DeviceShare, PredictedView, SweepPoint};
use crate::wire::work::Placed;
use crate::wire::{PlanAsk, PlanView};
use crate::workflow::{Defaults, JobSpec, Kind, Refusal, resolve};

/// The most points of a curve; a plan each.
pub const MOST_POINTS: u32 = 200;

/// What is asked, and what the core knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is to be planned.
    pub ask: Box<PlanAsk>,
    /// What stands in for what it does not say.
    pub defaults: Box<Defaults>,
    /// The devices' memory.
    pub rooms: Vec<Room>,
    /// What the engine of the device that computes holds.
    pub placed: Option<Box<Placed>>,
    /// What that engine calls itself, if it lives.
    pub engine: Option<String>,
    /// What runs have shown.
    pub experience: Experience,
    /// GPUs that are simulated.
    pub simulated: Vec<SimulatedGpu>,
}

/// Answers the question.
pub fn answer(question: Question, roots: &Roots) -> Result<PlanView, Refusal> {
    let Question { ask, defaults, rooms, placed, engine, experience, simulated } = question;
    if let Some(points) = ask.sweep.filter(|n| !(2..=MOST_POINTS).contains(n)) {
        return Err(Refusal::new(Kind::Usage, format!("--sweep {points} is out of range"), format!("use 2 to {MOST_POINTS}; 11 is usual")));
    }
    let spec = resolve(&ask.draft, &inventory::gather(&ask.draft, roots)?, &defaults)?;
    let files = spec.set.component(Role::Denoiser).map(|c| c.files.clone()).unwrap_or_default();
    let network = Network::read(&files)?;
    let precision = spec.computes_in();
    let basis = experience.basis(spec.compute, precision, engine.as_deref());
    let known = basis.map(|b| experience.speeds(b)).unwrap_or_default();
    let machine = learned::machine(rooms, &known, page_cache::files(&files)?);
    let machine = if is_simulated(spec.compute) {
        machine.seen_from(spec.compute, &simulated, network::beside(&spec.set, Role::Denoiser, precision)?)
    } else {
        machine
    };
    let model = network.model(spec.work(), precision, machine.speed(spec.compute));
    let held = placed.filter(|p| p.files == files && p.precision == precision && p.ask == spec.offload).map(|p| p.plan);
    let found = Found { spec: &spec, table: &network.table, model: &model, machine: &machine };
    let planned = found.planned(held.as_ref())?;
    let predicted = PredictedView::of(&planned, basis.and_then(|b| experience.history(b)));
    let minimum = found.smallest();
    let mut warnings = found.warnings(&planned);
    let sweep = ask.sweep.map(|points| found.sweep(points)).transpose()?;
    if minimum.is_none() {
        warnings.push(format!("even with all of it elsewhere, too little of {} is free", spec.compute));
    }
    Ok(PlanView {
        blocks: found.blocks(&planned.plan),
        devices: found.devices(&planned),
        streamed_bytes_per_step: found.streamed(&planned.plan),
        model: spec.set.name.clone(),
        family: spec.set.family.name().to_owned(),
        precision,
        compute: spec.compute,
        weights: model.bytes(),
        stored: network.table.bytes(),
        allocation: FullAsk { compute: spec.compute, ask: spec.offload.clone() }.to_string(),
        predicted,
        minimum_virtual_vram: minimum,
        staging: planned.staging,
        loaded: held.is_some(),
        warnings,
        sweep,
    })
}

fn is_simulated(device: DeviceId) -> bool {
    matches!(device, DeviceId::Sim(_))
}

/// Everything that a plan is made from.
struct Found<'a> {
    spec: &'a JobSpec,
    table: &'a BlockTable,
    model: &'a Model,
    machine: &'a Machine,
}

impl Found<'_> {
    /// The plan: the one that an engine keeps from an equal run before, or else a new one.
    fn planned(&self, held: Option<&OffloadPlan>) -> Result<Planned, Refusal> {
        if let Some(plan) = held {
            return Ok(expect(plan, self.model, self.machine));
        }
        propose(&self.spec.offload, self.spec.compute, self.model, self.machine).map_err(|error| {
            let refusal = Refusal::from(&error);
            match self.smallest().filter(|n| refusal.kind == Kind::Refused && *n > Bytes::ZERO) {
                Some(smallest) => {
                    Refusal { hint: Some(format!("--virtual-vram {}b is the least that fits now", smallest.get())), ..refusal }
                }
                None => refusal,
            }
        })
    }

    fn smallest(&self) -> Option<Bytes> {
        // Why there is none was told already, or does not matter to a plan that there is.
        smallest(&self.spec.offload, self.spec.compute, self.model, self.machine).ok()
    }

    fn sweep(&self, points: u32) -> Result<Vec<SweepPoint>, Refusal> {
        let curve = curve(&self.spec.offload, self.spec.compute, self.model, self.machine, points).map_err(|e| Refusal::from(&e))?;
        let smallest = self.smallest();
        let point =
            |p: Point| SweepPoint { freed: p.freed, step_s: p.step_s, lower_s: p.lower_s, fits: smallest.is_some_and(|n| n <= p.freed) };
        Ok(curve.into_iter().map(point).collect())
    }

    fn blocks(&self, plan: &OffloadPlan) -> Vec<BlockView> {
        let blocks = (0..).map(BlockIndex).zip(self.table.blocks()).zip(&self.model.units);
        let view = |((index, block), unit): ((BlockIndex, &Block), &UnitCost)| BlockView {
            index,
            name: block.name.clone(),
            bytes: unit.bytes,
            stored: block.bytes(),
            device: plan.home(index),
        };
        blocks.map(view).collect()
    }

    fn streamed(&self, plan: &OffloadPlan) -> Bytes {
        let once: Bytes = plan.streamed().into_iter().filter_map(|index| self.table.block(index)).map(Block::bytes).sum();
        Bytes(once.get().saturating_mul(self.model.walks))
    }

    fn devices(&self, planned: &Planned) -> Vec<DeviceShare> {
        let (compute, blocks) = (planned.plan.compute, self.blocks(&planned.plan));
        let mut ids: Vec<DeviceId> = planned.plan.homes.iter().copied().filter(|home| *home != compute).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.insert(0, compute);
        let whole = self.model.bytes().get().max(1) as f64;
        let share = |id: DeviceId| {
            let here = || blocks.iter().filter(|b| b.device == id);
            let bytes: Bytes = here().map(|b| b.bytes).sum();
            let held = if id == compute { bytes } else { here().map(|b| b.stored).sum() };
            let taken = if id == compute { held + planned.staging } else { held };
            let room = self.machine.rooms.iter().find(|r| r.device == id);
            DeviceShare {
                id,
                bytes,
                held,
                share: bytes.get() as f64 / whole,
                total: room.map(|r| r.total),
                free_after: room.map(|r| r.free.saturating_sub(taken)),
            }
        };
        ids.into_iter().map(share).collect()
    }

    fn warnings(&self, planned: &Planned) -> Vec<String> {
        let mut warnings = Vec::new();
        let predicted = &planned.predicted;
        if is_simulated(self.spec.compute) {
            let compute = self.spec.compute;
            warnings.push(format!("{compute} is {SIMULATED}: the processor computes, and links are as fast as the profile says"));
        }
        if !predicted.calibrated {
            let unmeasured: Vec<String> = std::iter::once((self.spec.compute, self.model.measured))
                .chain(predicted.links.iter().map(|l| (l.device, self.machine.speed(l.device).measured)))
                .filter(|(_, measured)| !measured)
                .map(|(device, _)| device.to_string())
                .collect();
            warnings.push(format!("the speed of {} is assumed, not measured: one run measures it", unmeasured.join(" and ")));
        }
        if predicted.step_s > predicted.compute_s * 1.5 && !predicted.links.is_empty() {
            let waits = 100.0 * (1.0 - predicted.compute_s / predicted.step_s);
            warnings.push(format!("{waits:.0} % of a step is waiting for weights"));
        }
        warnings
    }
}
