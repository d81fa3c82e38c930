//! Works out where a job's weights would live. Reads headers, so it is done on a thread of its own.

use super::converters;
use super::grounds::Evidence;
use super::layout::{self, Known, Layout, Others};
use crate::devices::{SIMULATED, SimulatedGpu};
use crate::families::Role;
use crate::library::{Network, Roots, inventory, page_cache};
use crate::placement::advice;
use crate::placement::ask::FullAsk;
use crate::placement::plan::total;
use crate::placement::propose::{curve, expect, smallest};
use crate::placement::sweep::Point;
use crate::placement::{Experience, Files, History, Learned, OffloadPlan, Planned, Room, Share, Walk, Whose, propose};
use crate::units::{Bytes, DeviceId, Timestamp};
use crate::weights::Block;
use crate::wire::plan::{PartPlan, PredictedView, SweepPoint};
use crate::wire::tune::TuneBlock;
use crate::wire::work::Placed;
use crate::wire::{PlanAsk, PlanView, TuneView};
use crate::workflow::{Defaults, JobSpec, Kind, Refusal, resolve};

/// The most points of a curve; a plan each.
pub const MOST_POINTS: u32 = 1000;

/// A network that an engine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Where its blocks are.
    pub placed: Box<Placed>,
    /// What of them lies in the page cache, and was free before.
    pub cached: Bytes,
}

/// What is asked, and what the core knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is to be planned.
    pub ask: Box<PlanAsk>,
    /// What stands in for what it does not say.
    pub defaults: Box<Defaults>,
    /// The devices' memory. What this engine has counts as free, since others would take its place.
    pub rooms: Vec<Room>,
    /// What that is.
    pub held: Vec<Share>,
    /// The networks that the engine of the device that computes holds.
    pub loaded: Vec<Loaded>,
    /// What that engine calls itself, if it lives.
    pub engine: Option<String>,
    /// The version of the GPUs' driver, where it can be told.
    pub driver: Option<String>,
    /// What runs have shown.
    pub experience: Experience,
    /// The time.
    pub now: Timestamp,
    /// GPUs that are simulated.
    pub simulated: Vec<SimulatedGpu>,
}

/// Works out the plan that is asked for.
pub fn answer(question: Question, roots: &Roots) -> Result<PlanView, Refusal> {
    if let Some(points) = question.ask.sweep.filter(|n| !(2..=MOST_POINTS).contains(n)) {
        return Err(Refusal::new(Kind::Usage, format!("--sweep {points} is out of range"), format!("use 2 to {MOST_POINTS}; 11 is usual")));
    }
    let points = question.ask.sweep;
    let found = Found::gather(question, roots)?;
    let (spec, layout) = (&found.spec, &found.layout);
    let held = found.loaded.as_ref().map(|l| &*l.placed).filter(|p| p.ask == spec.offload);
    let planned = found.planned(held)?;
    let (parts, misses): (Vec<PartPlan>, Vec<Vec<String>>) = layout::parts(spec, &found.known(Others::Beside))?.into_iter().unzip();
    let minimum = found.smallest();
    let mut warnings = advice::warnings(&planned, &spec.offload, &layout.model, &layout.machine);
    warnings.extend(misses.concat());
    if spec.compute.is_simulated() {
        let compute = spec.compute;
        warnings.insert(0, format!("{compute} is {SIMULATED}: the processor computes, and links are as fast as the profile says"));
    }
    if let Some(conversion) = found.spec.conversion.as_ref().filter(|_| found.to_be_converted) {
        warnings.push(format!("it is converted to {} first; sizes are those of what that will be", conversion.wish.to));
    }
    let sweep = points.map(|points| found.sweep(points)).transpose()?;
    if minimum.is_none() {
        warnings.push(format!("even with all of it elsewhere, too little of {} is free", spec.compute));
    }
    Ok(PlanView {
        blocks: layout.blocks(&planned.plan),
        layers: layout.layers(spec.computes_in()),
        devices: layout.devices(&planned),
        streamed_bytes_per_step: layout.streamed(&planned.plan),
        model: spec.set.name.clone(),
        family: spec.set.family.name().to_owned(),
        precision: spec.computes_in(),
        compute: spec.compute,
        weights: layout.model.bytes(),
        stored: layout.table.bytes(),
        allocation: FullAsk { compute: spec.compute, ask: spec.offload.clone() }.to_string(),
        pins: spec.offload.pins.clone(),
        predicted: PredictedView::of(&planned, found.history, found.evidence().of(&planned, &found.walk, layout.model.grounds)),
        parts,
        minimum_virtual_vram: minimum,
        staging: planned.staging,
        loaded: held.is_some(),
        warnings,
        sweep,
    })
}

/// Returns what plans are worked out from, for somebody who works them out.
pub fn facts(mut question: Question, roots: &Roots) -> Result<TuneView, Refusal> {
    let mut held = std::mem::take(&mut question.held);
    let Found { spec, layout: Layout { table, model, machine, .. }, loaded, history, .. } = Found::gather(question, roots)?;
    // Plans count the blocks of a network as taken wherever they lie, so it is held all of it.
    let cached = loaded.as_ref().map(|l| Share { device: spec.compute, bytes: l.cached }).filter(|s| s.bytes > Bytes::ZERO);
    held = total(&[held, cached.into_iter().collect()]);
    let block = |block: &Block| TuneBlock { name: block.name.clone(), stored: block.bytes() };
    Ok(TuneView {
        blocks: table.blocks().iter().map(block).collect(),
        model: spec.set.name.clone(),
        family: spec.set.family.name().to_owned(),
        precision: spec.computes_in(),
        compute: spec.compute,
        size: spec.size,
        batch: spec.batch,
        network: model,
        machine,
        held,
        active: loaded.map(|l| l.placed),
        history,
    })
}

/// Everything that a plan is made from.
struct Found {
    spec: JobSpec,
    layout: Layout,
    rooms: Vec<Room>,
    simulated: Vec<SimulatedGpu>,
    /// Whether its network is only known by what it will be.
    to_be_converted: bool,
    /// What an engine holds of these files in this precision.
    loaded: Option<Loaded>,
    history: Option<History>,
    /// What each walk through its blocks is.
    walk: Walk,
    learned: Vec<Learned>,
    files: Files,
    now: Timestamp,
}

impl Found {
    fn gather(question: Question, roots: &Roots) -> Result<Self, Refusal> {
        let Question { ask, defaults, rooms, held: _, loaded, engine, driver, experience, now, simulated } = question;
        let mut spec = resolve(&ask.draft, &inventory::gather(&ask.draft, roots)?, &defaults)?;
        let foretold = converters::foretold(&mut spec, roots)?;
        let files = spec.set.component(Role::Denoiser).map(|c| c.files.clone()).unwrap_or_default();
        let network = match &foretold {
            Some(catalog) => Network::of(catalog, &files)?,
            None => Network::read(&files)?,
        };
        let precision = spec.computes_in();
        let whose = engine.as_deref().map_or(Whose::Any { driver: driver.as_deref() }, Whose::Engine);
        let basis = experience.basis(spec.compute, precision, whose);
        let learned = basis.map(|b| experience.known(b)).unwrap_or_default();
        let files_are = page_cache::files(&files)?;
        let known = Known { rooms: &rooms, learned: &learned, simulated: &simulated, others: Others::Beside };
        let machine = known.machine(&spec, Role::Denoiser, files_are)?;
        let model = network.model(spec.work(), precision, &machine.pace);
        let walk = network.walk(spec.work());
        let loaded = loaded.into_iter().find(|l| l.placed.files == files && l.placed.precision == precision);
        let history = basis.and_then(|b| experience.history(b, &walk));
        let layout = Layout { role: Role::Denoiser, table: network.table, model, machine };
        let to_be_converted = foretold.is_some();
        Ok(Self { spec, layout, rooms, simulated, to_be_converted, loaded, history, walk, learned, files: files_are, now })
    }

    /// What is known of the machine, with the other parts beside one or not.
    fn known(&self, others: Others) -> Known<'_> {
        Known { rooms: &self.rooms, learned: &self.learned, simulated: &self.simulated, others }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence { known: &self.learned, files: self.files, now: self.now }
    }

    /// The plan: the one that an engine keeps from an equal run before, or else a new one.
    fn planned(&self, held: Option<&Placed>) -> Result<Planned, Refusal> {
        if let Some(placed) = held {
            return Ok(expect(&placed.plan, &self.layout.model, &self.layout.machine, placed.staging));
        }
        let Layout { table, model, machine, .. } = &self.layout;
        propose(&self.spec.offload, self.spec.compute, model, machine).or_else(|error| {
            // A run of which nothing is asked begins on the processor, however little is free: files are mapped, and weights leave
            // while memory is short.
            if self.spec.offload.is_nothing() && self.spec.compute == DeviceId::Cpu {
                return Ok(expect(&OffloadPlan::all_resident(self.spec.compute, table), model, machine, None));
            }
            let refusal = Refusal::from(&error);
            if let Some(part) = self.too_large_part().filter(|_| refusal.kind == Kind::Refused) {
                return Err(part);
            }
            Err(Refusal::of_placing(&error, self.smallest()))
        })
    }

    /// What is wrong with a part that does not fit even by itself, where the network does.
    fn too_large_part(&self) -> Option<Refusal> {
        let (spec, alone) = (&self.spec, self.known(Others::Away));
        let machine = alone.machine(spec, Role::Denoiser, self.files).ok()?;
        propose(&spec.offload, spec.compute, &self.layout.model, &machine).ok()?;
        layout::parts(spec, &alone).err()
    }

    fn smallest(&self) -> Option<Bytes> {
        // Why there is none was told already, or does not matter to a plan that there is.
        smallest(&self.spec.offload, self.spec.compute, &self.layout.model, &self.layout.machine).ok()
    }

    fn sweep(&self, points: u32) -> Result<Vec<SweepPoint>, Refusal> {
        let curve = curve(&self.spec.offload, self.spec.compute, &self.layout.model, &self.layout.machine, points)
            .map_err(|e| Refusal::from(&e))?;
        let room = self.layout.machine.rooms.iter().find(|r| r.device == self.spec.compute);
        let fits = |needed| room.is_none_or(|r| needed <= r.capacity());
        let point = |p: Point| SweepPoint { freed: p.freed, step_s: p.step_s, lower_s: p.lower_s, fits: fits(p.needed) };
        Ok(curve.into_iter().map(point).collect())
    }
}
