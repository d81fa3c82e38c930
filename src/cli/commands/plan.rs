//! `perilune plan`: where each block of a model would go, and what a step would take.

use super::compat;
use crate::cli::args::PlanArgs;
use crate::cli::context::Context;
use crate::cli::output::{plain, significant, table};
use crate::cli::{intent, plot, report};
use crate::client::call::unexpected;
use crate::devices::Labelled;
use crate::placement::own_tables::{Holder, Layers, Placement};
use crate::placement::{Origin, Pins, Similar};
use crate::tui::wording;
use crate::units::{Bytes, DeviceId};
use crate::wire::plan::{BlockView, DeviceShare, Ground, LayerKind, PartPlan, PlanView, PredictedView, RestsOn, SweepPoint};
use crate::wire::{Reply, Request};
use crate::workflow::{Kind, Refusal};

/// Plans a model, or the cases of a file; returns the exit code.
pub(super) fn plan(context: &Context, args: PlanArgs) -> Result<u8, Refusal> {
    if let Some(blocks) = &args.blocks {
        return compat::compat(context, &args, blocks);
    }
    let usage = |message: &str| Refusal::new(Kind::Usage, message, "use `perilune plan MODEL`, with the flags of a run");
    let Some(model) = args.model.clone() else { return Err(usage("there is nothing to plan: the model is missing")) };
    if args.compat.is_some() {
        return Err(usage("--compat is about blocks in a file: --blocks is missing"));
    }
    if args.tables && context.output.json {
        return Err(usage("--tables are text, which --json is not"));
    }
    let is_table = args.tables;
    let ask = intent::planned(model, args, context)?;
    let view = context.with_daemon(|daemon| async move {
        let mut daemon = daemon;
        match daemon.call(Request::Plan(Box::new(ask))).await? {
            Reply::Plan(view) => Ok(*view),
            reply => Err(unexpected(&reply)),
        }
    })?;
    context.output.show(&view, || if is_table { all_tables(&view) } else { text(&view) });
    for warning in view.warnings.iter().filter(|_| !context.output.json) {
        report::note(&format!("warning: {warning}"));
    }
    Ok(0)
}

fn text(view: &PlanView) -> String {
    let loaded = if view.loaded { " · loaded so" } else { "" };
    let asked = asked(&view.allocation, &view.pins);
    let head = format!("{} · {} · {asked} · {} {}{loaded}", view.model, view.family, view.weights, view.precision);
    let sweep = view.sweep.as_deref().map(sweep).unwrap_or_default();
    let parts: String = view.parts.iter().map(part).collect();
    let places = places(&view.blocks, &view.devices);
    format!("{}\n\n{places}{}{}{parts}{sweep}", plain(&head), memory(view), seconds(&view.predicted))
}

/// Where the weights of a part live that every run uses once.
fn part(part: &PartPlan) -> String {
    let head = format!("{} · {} · {} {}", part.role, asked(&part.allocation, &part.pins), part.weights, part.precision);
    let rows = [("staging", part.staging.to_string()), ("streamed each time", part.streamed_bytes_per_use.to_string())];
    let memory = table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]));
    format!("\n{}\n\n{}{memory}", plain(&head), places(&part.blocks, &part.devices))
}

/// What was asked; pins have a flag of their own, and so they have a place of their own.
fn asked(allocation: &str, pins: &Pins) -> String {
    if pins.is_empty() { allocation.to_owned() } else { format!("{allocation} · pinned {pins}") }
}

/// The blocks, each with its device, and the sums of each device.
fn places(blocks: &[BlockView], devices: &[DeviceShare]) -> String {
    let row = |b: &BlockView| vec![b.index.0.to_string(), b.name.clone(), b.bytes.to_string(), Labelled(b.device).to_string()];
    let blocks = table(&["block", "name", "size", "device"], blocks.iter().map(row));
    let devices = table(&["device", "weights", "share", "held", "free after"], devices.iter().map(device));
    format!("{blocks}\n{devices}")
}

/// The tables of the original: the diffusion network's, and those of each part of which something is asked.
fn all_tables(view: &PlanView) -> String {
    let network = tables((&view.blocks, &view.layers, &view.devices), view.weights).render();
    let part = |p: &PartPlan| format!("\n{}\n{}", p.role, tables((&p.blocks, &p.layers, &p.devices), p.weights).render());
    view.parts.iter().map(part).fold(network, |all, part| all + &part)
}

/// The sums of a plan, as the original's tables show them.
fn tables((blocks, layers, devices): (&[BlockView], &[LayerKind], &[DeviceShare]), model: Bytes) -> Placement {
    let holders = devices.iter().map(|d| Holder { device: d.id, total: d.total, bytes: d.bytes });
    let types = layers.iter().map(|l| Layers { name: plain(&l.name), count: l.count as usize, bytes: l.bytes });
    let home = |device: DeviceId, pinned: bool| {
        let here = || blocks.iter().filter(|b| b.device == device && b.pinned == pinned);
        let name = if pinned { format!("{} (pinned)", Labelled(device)) } else { Labelled(device).to_string() };
        let layers = Layers { name, count: here().map(|b| b.layers as usize).sum(), bytes: here().map(|b| b.bytes).sum() };
        (layers.bytes > Bytes::ZERO).then_some(layers)
    };
    let homes = devices.iter().flat_map(|d| [home(d.id, false), home(d.id, true)]).flatten();
    Placement { devices: holders.collect(), types: types.collect(), homes: homes.collect(), model }
}

fn device(share: &DeviceShare) -> Vec<String> {
    let free = share.free_after.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    vec![Labelled(share.id).to_string(), share.bytes.to_string(), format!("{:.1} %", share.share * 100.0), share.held.to_string(), free]
}

fn memory(view: &PlanView) -> String {
    let smallest = match view.minimum_virtual_vram {
        Some(Bytes::ZERO) => "none is needed".to_owned(),
        Some(bytes) => bytes.to_string(),
        None => "none is enough".to_owned(),
    };
    let rows = [
        ("staging", view.staging.to_string()),
        ("streamed in a step", view.streamed_bytes_per_step.to_string()),
        ("least virtual VRAM", smallest),
    ];
    table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))
}

/// The forecast with its terms.
fn seconds(predicted: &PredictedView) -> String {
    let s = |seconds: f64| format!("{} s", significant(seconds));
    let row = |name: &str, value: f64, about: &str| vec![name.to_owned(), s(value), about.to_owned()];
    let mut rows = vec![row("a step", predicted.step_s, ""), row("computing", predicted.compute_s, "")];
    rows.extend(
        predicted.links.iter().map(|l| row(&format!("copying from {}", Labelled(l.device)), l.transfer_s, &l.streamed.to_string())),
    );
    rows.push(row("at least", predicted.lower_s, "computing or the busiest link"));
    rows.push(row("at most", predicted.upper_s, "if nothing overlaps"));
    rows.push(row("the first step", predicted.first_step_s, ""));
    let basis = match (predicted.calibrated, predicted.history) {
        (true, Some(history)) => {
            let error = history.median_error * 100.0;
            let runs = wording::count(u64::from(history.runs), "run");
            let which = match history.of {
                Similar::Size => "of such a network at about this size",
                Similar::Network => "of such a network at other sizes",
            };
            format!("calibrated: forecasts here were off by {error:.0} % in the median of {runs} {which}")
        }
        (true, None) => "calibrated: by what was measured on this box; no forecast for such a network was put to the test yet".to_owned(),
        (false, _) => "not calibrated: speeds are assumed, so of these only the bytes are sure".to_owned(),
    };
    let grounds = table(&[], predicted.rests_on.iter().map(rests_on));
    format!("{}{grounds}\n{basis}\n", table(&[], rows))
}

/// What a term rests on, and how old that is.
fn rests_on(term: &RestsOn) -> Vec<String> {
    let on = match term.on {
        Ground::Steps => "steps of such a network",
        Ground::Kinds => "blocks of its kinds",
        Ground::OtherSizes => "steps of such a network at other sizes",
        Ground::Link => "measured",
        Ground::Assumed => "assumed",
    };
    let age = term.age_s.map(wording::span).unwrap_or_default();
    let origin = match term.origin {
        Some(Origin::Run) => format!("by a run {age} ago"),
        Some(Origin::Calibration) => format!("by a calibration {age} ago"),
        None => String::new(),
    };
    vec![format!("{} rests on", term.what), on.to_owned(), origin]
}

fn sweep(points: &[SweepPoint]) -> String {
    let row = |p: &SweepPoint| {
        let fits = if p.fits { "" } else { "does not fit now" };
        vec![p.freed.to_string(), format!("{} s", significant(p.step_s)), format!("{} s", significant(p.lower_s)), fits.to_owned()]
    };
    let table = table(&["leaves", "a step", "at least", ""], points.iter().map(row));
    let curve = |value: fn(&SweepPoint) -> f64| points.iter().map(|p| (p.freed.get() as f64, value(p))).collect::<Vec<_>>();
    let most = points.last().map_or(Bytes::ZERO, |p| p.freed);
    let shown = plot::lines(&plot::Plot {
        across: ("leaves", most.to_string()),
        up: "a step in seconds; dots: at least",
        lower: &curve(|p| p.lower_s),
        upper: &curve(|p| p.step_s),
    });
    format!("\n{table}\n{shown}")
}
