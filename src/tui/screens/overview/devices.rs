//! The panel of devices: one row each, and why there is none where one could be expected.
//!
//! ```text
//! DEVICE           MEMORY                     GiB BUSY           POWER  TEMP RX/TX GiB/s STATE
//! cuda:0 RTX 4090  ████████████▒▒▒░░·· !23.7/24.0  93% ████████·  402W   71C    13.1/0.2 run 41
//! cuda:3 RTX 3090  LOST 42s ago: fell off the bus (Xid 79); last known 3.1/24.0; 2 jobs wait for it
//! cpu 32 cores     ▓▓▓▓▓░░░░░········    29.5/125  18% ██·······                         load 4.1
//! █ weights  ▓ donated  ▒ activations  ░ others  · free   ! nearly full
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::Pane;
use super::view::focused;
use crate::devices::{DeviceKind, DeviceReading, Health, Memory};
use crate::jobs::JobState;
use crate::theme::{Glyphs, Role};
use crate::tui::known::Known;
use crate::tui::model::{Link, Model};
use crate::tui::paint::Paint;
use crate::tui::widgets::bar::{self, Shares};
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::panel;
use crate::tui::wording::{self, ABSENT, PENDING};
use crate::units::{Bytes, DeviceId};
use crate::wire::EngineState;

const COLUMNS: &[Column] = &[
    Column { title: "DEVICE", min: 15, grow: 2, side: Side::Left, keep: 9 },
    Column { title: "MEMORY", min: 12, grow: 6, side: Side::Left, keep: 8 },
    Column { title: "GiB", min: 11, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "BUSY", min: 4, grow: 0, side: Side::Right, keep: 5 },
    Column { title: "", min: 8, grow: 1, side: Side::Left, keep: 1 },
    Column { title: "POWER", min: 5, grow: 0, side: Side::Right, keep: 3 },
    Column { title: "TEMP", min: 5, grow: 0, side: Side::Right, keep: 4 },
    Column { title: "RX/TX GiB/s", min: 11, grow: 0, side: Side::Right, keep: 0 },
    Column { title: "STATE", min: 16, grow: 3, side: Side::Left, keep: 6 },
];
const BAR: usize = 1;
const BUSY: usize = 4;

/// Returns the devices in the order of the rows: GPUs, then host memory, then disk.
#[must_use]
pub fn ids(known: &Known) -> Vec<DeviceId> {
    let rank = |kind: DeviceKind| match kind {
        DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim => 0,
        DeviceKind::Cpu => 1,
        DeviceKind::Disk => 2,
    };
    let mut devices: Vec<(u8, DeviceId)> = known.devices.iter().map(|d| (rank(d.kind), d.id)).collect();
    devices.sort_by_key(|(rank, _)| *rank);
    devices.into_iter().map(|(_, id)| id).collect()
}

/// Returns the row of the selected device.
#[must_use]
pub fn cursor(model: &Model) -> Option<usize> {
    let ids = ids(&model.known);
    let at = model.overview.device.and_then(|id| ids.iter().position(|i| *i == id));
    at.or(if ids.is_empty() { None } else { Some(0) })
}

/// Returns the rows below the heads.
#[must_use]
pub fn rows(model: &Model, area: Rect) -> u16 {
    let problem = if model.known.host.gpu_problem.is_some() { 2 } else { 0 };
    let devices = (model.known.devices.len() as u16).max(if model.known.heard_at.is_some() { 1 } else { 3 });
    devices + problem + u16::from(has_legend(area))
}

fn has_legend(area: Rect) -> bool {
    area.height >= 28
}

/// Draws the panel.
pub fn draw(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let screen = frame.area();
    let focus = Focus::when(focused(model, Pane::Devices));
    let inside = panel::draw(frame, area, paint, "Devices", "", focus);
    if inside.height == 0 {
        return;
    }
    let grid = Grid::fit(COLUMNS, inside.width);
    let inside = grid.draw_heads(frame, area, inside, paint, ("Devices", ""));
    let mut lines = Vec::new();
    let ids = ids(&model.known);
    if model.known.heard_at.is_none() {
        lines.extend(unheard(model, paint));
    }
    // Rows that are still there are the last that was read.
    let seen = model.known.devices.iter().any(|d| d.kind == DeviceKind::Cuda);
    let about = if seen { "NVIDIA" } else { "no NVIDIA devices" };
    let problem = model.known.host.gpu_problem.as_ref().map(|p| {
        let cause = Line::from(vec![
            piece(data, Role::Warn, format!("{} ", data.mark(Role::Warn))),
            piece(data, Role::Warn, format!("{about}: {}", p.cause)),
        ]);
        [cause, line::text(data, Role::Text, format!("  {}", p.hint))]
    });
    let below: Vec<Line<'static>> =
        problem.into_iter().flatten().chain(has_legend(crate::tui::view::body(screen)).then(|| legend(model, paint))).collect();
    for (y, text) in (inside.y..inside.bottom()).zip(lines.iter().cloned()) {
        frame.render_widget(text, Rect { y, height: 1, ..inside });
    }
    let top = inside.y + lines.len() as u16;
    let foot = (below.len() as u16).min(inside.bottom().saturating_sub(top + 1));
    let middle = Rect { y: top, height: inside.bottom().saturating_sub(top + foot), ..inside };
    let selected = cursor(model).map(|at| (at, focus));
    list::draw(frame, middle, paint, ids.len(), selected, |at| {
        let reading = model.known.devices.iter().find(|d| d.id == ids[at]);
        reading.map(|r| row(model, r, &grid, data)).unwrap_or_default()
    });
    for (y, text) in (middle.bottom()..inside.bottom()).zip(below) {
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}

fn unheard(model: &Model, paint: &Paint) -> Vec<Line<'static>> {
    match &model.link {
        Link::Down { reason, .. } => {
            let hint = reason.hint.clone().unwrap_or_default();
            vec![line::text(paint, Role::Crit, &reason.message), line::text(paint, Role::Text, hint)]
        }
        Link::Connecting | Link::Up => vec![line::text(paint, Role::Dim, PENDING)],
    }
}

fn legend(model: &Model, paint: &Paint) -> Line<'static> {
    let Glyphs { memory, .. } = paint.glyphs;
    let parts = [
        (memory.weights, Role::MemWeights, "weights"),
        (memory.donated, Role::MemDonated, "donated weights"),
        (memory.activation, Role::MemActivation, "activations"),
        (memory.other, Role::MemOther, "others"),
        (memory.free, Role::MemFree, "free"),
    ];
    let mut pieces: Vec<Line<'static>> = parts
        .into_iter()
        .map(|(glyph, role, word)| Line::from(vec![piece(paint, role, glyph), piece(paint, Role::Dim, format!(" {word}"))]))
        .collect();
    let has_floors = model.known.devices.iter().any(|d| d.floor.is_some());
    let warned = if has_floors { " nearly full or below its floor" } else { " nearly full" };
    pieces.push(Line::from(vec![piece(paint, Role::Warn, paint.mark(Role::Warn)), piece(paint, Role::Dim, warned)]));
    line::join(pieces, 3)
}

fn row(model: &Model, reading: &DeviceReading, grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    let name = name(reading, paint);
    match &reading.health {
        Health::Lost { reason, for_s } => {
            let known = reading.memory.map(|m| format!("; last known {}", wording::used_of(m))).unwrap_or_default();
            // What a GPU said last may be why.
            let xid = reading.extras.xid.as_ref().and_then(|faults| faults.last.as_ref());
            let xid = xid.map(|xid| format!(" (Xid {})", xid.code)).unwrap_or_default();
            let text = format!("LOST {} ago: {reason}{xid}{known}{}", wording::span(*for_s), waiting_for(model, reading.id));
            return grid.row_with_text(name, line::text(paint, Role::Crit, text), paint);
        }
        Health::Asleep => {
            let text = "asleep (runtime PM); asking it for more would wake it";
            return grid.row_with_text(name, line::text(paint, Role::Dim, text), paint);
        }
        Health::Ok | Health::Degraded { .. } => {}
    }
    if let Some(error) = &reading.error {
        return grid.row_with_text(name, line::text(paint, Role::Crit, format!("cannot be read: {error}")), paint);
    }
    let thresholds = paint.thresholds();
    let number = |value: Option<f64>, role: Role, write: &dyn Fn(f64) -> String| match value {
        Some(v) => line::text(paint, role, write(v)),
        None => line::text(paint, Role::Dim, ABSENT),
    };
    let memory = memory_of(model, reading);
    let used = memory.map_or_else(|| line::text(paint, Role::Dim, ABSENT), |m| used(m, reading.floor, paint));
    let bar =
        memory.map_or_else(|| line::text(paint, Role::Dim, "n/a"), |m| bar::memory(paint, shares(model, reading, m), grid.width(BAR)));
    let bar = if is_below_floor(model, reading) { bar::warned(paint, bar) } else { bar };
    let gpu = matches!(reading.kind, DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim);
    let blank_or = |value: Line<'static>, there: bool| if there || gpu { value } else { Line::raw("") };
    let busy = reading.utilization.or(model.known.host.cpu_utilization.filter(|_| reading.kind == DeviceKind::Cpu));
    let busy_bar = busy.map_or_else(Line::default, |b| bar::share(paint, Role::Bar, b, grid.width(BUSY)));
    let temp_role = reading.temperature_c.map_or(Role::Text, |t| Paint::grade(thresholds.temp, t));
    let temp_mark = paint.mark_of_value(temp_role);
    let busy_role = busy.map_or(Role::Text, |b| paint.load(b));
    let pcie = match (reading.pcie.rx_bps, reading.pcie.tx_bps) {
        (None, None) => line::text(paint, Role::Dim, ABSENT),
        (rx, tx) => line::text(paint, Role::Text, format!("{}/{}", rate(rx), rate(tx))),
    };
    let cells = vec![
        name,
        bar,
        used,
        blank_or(number(busy, busy_role, &|b| marked(paint.mark_of_value(busy_role), &wording::percent(b))), busy.is_some()),
        busy_bar,
        blank_or(number(reading.power_w, Role::Text, &|w| format!("{w:.0}W")), reading.power_w.is_some()),
        blank_or(number(reading.temperature_c, temp_role, &|t| format!("{temp_mark}{t:.0}C")), reading.temperature_c.is_some()),
        blank_or(pcie, false),
        state(model, reading, paint),
    ];
    grid.row(cells, paint)
}

/// A percentage of four columns with as much of its mark as fits: the value stays, and what stands before it tells.
fn marked(mark: &str, percent: &str) -> String {
    let digits = if mark.is_empty() { percent } else { percent.trim_end_matches('%') };
    let room = 4_usize.saturating_sub(digits.len());
    format!("{}{digits}", mark.chars().take(room).collect::<String>())
}

fn rate(bytes_per_second: Option<f64>) -> String {
    bytes_per_second.map_or_else(|| ABSENT.to_owned(), |b| format!("{:.1}", b / 1_073_741_824.0))
}

fn memory_of(model: &Model, reading: &DeviceReading) -> Option<Memory> {
    reading.memory.or(model.known.host.memory.filter(|_| reading.kind == DeviceKind::Cpu))
}

/// Returns whether less of a device's memory is free than the operator wants to stay free.
#[must_use]
pub fn is_below_floor(model: &Model, reading: &DeviceReading) -> bool {
    memory_of(model, reading).zip(reading.floor).is_some_and(|(memory, floor)| memory.free < floor)
}

fn used(memory: Memory, floor: Option<Bytes>, paint: &Paint) -> Line<'static> {
    let graded = Paint::grade(paint.thresholds().mem, memory.used.ratio_of(memory.total));
    let role = if graded == Role::Text && floor.is_some_and(|floor| memory.free < floor) { Role::Warn } else { graded };
    let mark = paint.mark_of_value(role);
    Line::from(vec![piece(paint, role, mark), piece(paint, role, wording::used_of(memory))])
}

/// Splits a device's memory by what holds it.
#[must_use]
pub fn shares(model: &Model, reading: &DeviceReading, memory: Memory) -> Shares {
    let computes_here = |set: &str| model.known.sets.iter().find(|s| s.name == set).is_none_or(|s| s.device == reading.id);
    let sum = |own: bool| -> Bytes { reading.held.iter().filter(|h| computes_here(&h.set) == own).map(|h| h.bytes).sum() };
    let (weights, donated) = (sum(true), sum(false));
    let activation = reading.activations.unwrap_or(Bytes::ZERO);
    Shares { weights, donated, activation, other: memory.used - weights - donated - activation, total: memory.total }
}

/// `cuda:0 RTX 4090`; slices of a MIG device are indented.
fn name(reading: &DeviceReading, paint: &Paint) -> Line<'static> {
    let slice = reading.uuid.as_ref().is_some_and(|u| u.starts_with("MIG-"));
    let role = if reading.mig { Role::Dim } else { Role::Text };
    let id = if slice { format!(" {}", reading.id) } else { reading.id.to_string() };
    let mut pieces = vec![piece(paint, role, id)];
    if let Some(name) = &reading.name {
        pieces.push(piece(paint, Role::Dim, format!(" {}", short(name))));
    }
    if reading.mig {
        pieces.push(piece(paint, Role::Dim, " MIG"));
    }
    Line::from(pieces)
}

/// A card's name without the words that all of them share.
#[must_use]
pub fn short(name: &str) -> &str {
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    name.strip_prefix("GeForce ").unwrap_or(name)
}

fn waiting_for(model: &Model, id: DeviceId) -> String {
    let waits = |state| matches!(state, JobState::Queued | JobState::Held);
    match model.known.jobs.iter().filter(|j| j.spec.compute == id && waits(j.state)).count() {
        0 => String::new(),
        1 => "; 1 job waits for it".to_owned(),
        n => format!("; {n} jobs wait for it"),
    }
}

/// What a device is doing.
fn state(model: &Model, reading: &DeviceReading, paint: &Paint) -> Line<'static> {
    let mut parts: Vec<Line<'static>> = Vec::new();
    if reading.simulated {
        parts.push(line::text(paint, Role::Warn, "SIMULATED"));
    }
    if reading.stale {
        parts.push(line::text(paint, Role::Warn, format!("stale {}", wording::span(reading.age_s))));
    }
    if let Health::Degraded { misses } = reading.health {
        parts.push(line::text(paint, Role::Warn, format!("{misses} readings missed")));
    }
    if let Some(job) = model.known.active_on(reading.id) {
        let word = if job.state == JobState::Paused { "paused" } else { "run" };
        parts.push(line::text(paint, Role::Ok, format!("{word} {}", job.job)));
    } else if let Some(engine) = model.known.engine(reading.id) {
        parts.push(match engine.state {
            EngineState::Starting => line::text(paint, Role::Dim, "engine starts"),
            EngineState::Ready | EngineState::Busy => line::text(paint, Role::Dim, "idle"),
            EngineState::Backoff => {
                let wait = engine.retry_in_s.map(|s| format!(" {}", wording::span(s))).unwrap_or_default();
                line::text(paint, Role::Warn, format!("engine: retry{wait}"))
            }
            EngineState::Broken => line::text(paint, Role::Crit, "engine cannot start"),
        });
    } else if reading.kind == DeviceKind::Cuda && !reading.mig {
        parts.push(line::text(paint, Role::Dim, "idle"));
    }
    if let Some(floor) = reading.floor.filter(|_| is_below_floor(model, reading)) {
        parts.push(line::text(paint, Role::Warn, format!("below floor {}", wording::gib(floor))));
    }
    parts.extend(about_host(model, reading, paint));
    line::join(parts, 1)
}

fn about_host(model: &Model, reading: &DeviceReading, paint: &Paint) -> Option<Line<'static>> {
    let host = &model.known.host;
    match reading.kind {
        DeviceKind::Cpu => {
            let load = host.load.map(|[one, ..]| format!("load {one:.1}"));
            let swap = host.swap.filter(|s| s.used > Bytes::ZERO).map(|s| format!("swap {}", wording::gib(s.used)));
            let text: Vec<String> = load.into_iter().chain(swap).collect();
            Some(line::text(paint, Role::Dim, text.join(", ")))
        }
        DeviceKind::Disk => reading.memory.map(|m| line::text(paint, Role::Dim, format!("{} GiB free", wording::gib(m.free)))),
        DeviceKind::Amd => Some(line::text(paint, Role::Dim, "shown only")),
        DeviceKind::Cuda | DeviceKind::Sim => None,
    }
}
