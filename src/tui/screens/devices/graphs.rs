//! What a device did lately: each quantity in its own unit, against what it can reach.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::devices::{DeviceKind, DeviceReading, Health};
use crate::theme::Role;
use crate::tui::history::Trails;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::trail::Trail;
use crate::tui::widgets::{line, sweep};
use crate::tui::wording::{self, ABSENT};

/// Rows of a graph at most: higher ones say no more.
pub const HIGHEST: u16 = 3;
/// Columns of the names, and of the values.
const NAMES: u16 = 8;
const VALUES: u16 = 28;
/// What the scale of temperatures ends with, where the device does not say when it slows down, in °C.
const HOT: f64 = 100.0;

/// One graph.
struct Graph<'a> {
    name: &'static str,
    trail: &'a Trail,
    /// What is full height; the largest sample where nothing limits it.
    full: Option<f64>,
    now: String,
}

/// Returns how many graphs a device has.
#[must_use]
pub fn count(reading: &DeviceReading) -> u16 {
    match reading.kind {
        DeviceKind::Cuda | DeviceKind::Amd => 6,
        DeviceKind::Sim | DeviceKind::Cpu => 2,
        DeviceKind::Disk => 3,
    }
}

/// Draws the graphs of a device, as many as there is room for.
pub fn draw(model: &Model, reading: &DeviceReading, paint: &Paint, frame: &mut Frame, area: Rect) {
    let Some(past) = model.known.history.of(reading.id) else { return };
    let graphs = graphs(model, reading, &past.trails);
    // Where it is narrow the largest value is left out.
    let values = if area.width >= 90 { VALUES } else { VALUES / 2 };
    if area.height == 0 || area.width < NAMES + values + 10 {
        return;
    }
    let each = (area.height / (graphs.len() as u16).max(1)).clamp(1, HIGHEST);
    let style = paint.device(reading.id);
    for (place, graph) in (0u16..).zip(graphs) {
        let y = area.y + place * each;
        if y + each > area.bottom() {
            break;
        }
        frame.render_widget(line::text(paint, Role::Label, graph.name), Rect { y, height: 1, width: NAMES, ..area });
        let plot = Rect { x: area.x + NAMES, y, width: area.width - NAMES - values - 1, height: each };
        let span = model.devices.span;
        let full = graph.full.unwrap_or_else(|| graph.trail.most(span).map_or(0.0, f64::from));
        for (x, value) in (plot.x..).zip(graph.trail.columns(span, usize::from(plot.width))) {
            let Some(value) = value else { continue };
            let share = if full > 0.0 { (f64::from(value) / full).clamp(0.0, 1.0) as f32 } else { 0.0 };
            sweep::column(frame, Position { x, y: plot.y }, plot.height, share, paint, style);
        }
        let most = graph.trail.most(span).filter(|_| values == VALUES);
        let most = most.map(|most| format!(", most {}", write(graph.name, f64::from(most)))).unwrap_or_default();
        let text = line::fit(line::text(paint, Role::Text, format!("{}{most}", graph.now)), usize::from(values), paint.glyphs);
        frame.render_widget(text, Rect { x: plot.right() + 1, y: y + each - 1, width: values, height: 1 });
    }
}

fn graphs<'a>(model: &Model, reading: &DeviceReading, trails: &'a Trails) -> Vec<Graph<'a>> {
    // What a lost device last said is not what it does now.
    let answers = matches!(reading.health, Health::Ok | Health::Degraded { .. });
    let now = |name: &str, value: Option<f64>| value.filter(|_| answers).map_or_else(|| ABSENT.to_owned(), |v| write(name, v));
    let graph =
        |name: &'static str, trail: &'a Trail, full: Option<f64>, value: Option<f64>| Graph { name, trail, full, now: now(name, value) };
    let used = reading.memory.map(|m| m.used.ratio_of(m.total));
    let disk = model.known.host.disks.iter().find(|d| Some(&d.mount) == reading.name.as_ref());
    let memory = graph("memory", &trails.memory, Some(1.0), used);
    let busy = graph("busy", &trails.busy, Some(1.0), reading.utilization);
    match reading.kind {
        DeviceKind::Cuda | DeviceKind::Amd => vec![
            memory,
            busy,
            graph("power", &trails.power, reading.power_limit_w, reading.power_w),
            graph("temp", &trails.temperature, Some(reading.extras.slowdown_c.unwrap_or(HOT)), reading.temperature_c),
            graph("in", &trails.incoming, link(reading), reading.pcie.rx_bps),
            graph("out", &trails.outgoing, link(reading), reading.pcie.tx_bps),
        ],
        DeviceKind::Cpu | DeviceKind::Sim => vec![memory, busy],
        DeviceKind::Disk => vec![
            graph("used", &trails.memory, Some(1.0), used),
            graph("reads", &trails.outgoing, None, disk.and_then(|d| d.read_bps)),
            graph("writes", &trails.incoming, None, disk.and_then(|d| d.write_bps)),
        ],
    }
}

/// Returns what the link of a device can carry each way, in bytes per second. PCI Express 1 and 2 carry 250 MB/s and 500 MB/s on
/// a lane; from 3 on a lane carries 8 GT/s, twice as many with each generation, of which 128 bits in 130 are data.
fn link(reading: &DeviceReading) -> Option<f64> {
    let generation = reading.extras.pcie_max_generation.or(reading.pcie.generation)?;
    let lanes = reading.extras.pcie_max_width.or(reading.pcie.width)?;
    let lane = match generation {
        0 => return None,
        1 | 2 => 250e6 * f64::from(generation),
        later => 1e9 * 128.0 / 130.0 * f64::from(1_u32 << (later - 3).min(8)),
    };
    Some(lane * f64::from(lanes))
}

/// Writes a value in the unit of its graph.
fn write(name: &str, value: f64) -> String {
    match name {
        "power" => format!("{value:.0} W"),
        "temp" => format!("{value:.0} C"),
        "in" | "out" | "reads" | "writes" => wording::speed(value),
        _ => wording::percent(value),
    }
}
