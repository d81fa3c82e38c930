//! The panels below the devices: sets, jobs, history, events.
//!
//! ```text
//! SET          PARTS       TYPE   PLAN  REAL WHERE            USED
//! qwen-night   unet te vae bf16   38.5  38.4 0:18.8 cpu:19.6  run 41
//!
//! cuda:0 memory   ▆▆▆▆▆▆▆▆▆▆ ▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅  23.7 GiB
//!                           ^ the sweep: newest before it, oldest after it
//!
//! 13:55:01 FAIL job 40 failed: out of memory on cuda:0 in the decoder
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::Pane;
use super::view::focused;
use crate::devices::{DeviceKind, DeviceReading, Health, SIMULATED};
use crate::families::Role as FamilyRole;
use crate::theme::Role;
use crate::tui::action::Action;
use crate::tui::alerts;
use crate::tui::history::Past;
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::queue::rows;
use crate::tui::screens::{Screen, detail};
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::panel::Lines;
use crate::tui::widgets::{panel, sweep};
use crate::tui::wording::{self, ABSENT, PENDING};
use crate::units::{Bytes, DeviceId};
use crate::wire::{Notice, SetView};

/// Rows of a graph at most: higher ones say no more.
const HIGHEST: u16 = 3;

const SETS: &[Column] = &[
    Column { title: "SET", min: 12, grow: 2, side: Side::Left, keep: 9 },
    Column { title: "PARTS", min: 11, grow: 1, side: Side::Left, keep: 1 },
    Column { title: "TYPE", min: 5, grow: 0, side: Side::Left, keep: 4 },
    Column { title: "PLAN", min: 5, grow: 0, side: Side::Right, keep: 6 },
    Column { title: "REAL", min: 5, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "WHERE", min: 16, grow: 1, side: Side::Left, keep: 5 },
    Column { title: "USED", min: 7, grow: 0, side: Side::Left, keep: 8 },
];

/// Draws a sentence where a list has no rows.
fn sentence(frame: &mut Frame, area: Rect, paint: &Paint, model: &Model, empty: &str) {
    let text = match (model.freshness(), &model.link) {
        (Freshness::Unheard, Link::Down { .. }) => "unknown until a daemon answers",
        (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING,
        (Freshness::Live | Freshness::Old(_), _) => empty,
    };
    let columns = usize::from(area.width);
    let mut rows = detail::view::folded(text, columns);
    // Where there is no room for all of them, the last that is seen is cut with a mark.
    let rest = rows.split_off(rows.len().min(usize::from(area.height).saturating_sub(1)));
    rows.extend((!rest.is_empty()).then(|| rest.join(" ")));
    for (y, row) in (area.y..area.bottom()).zip(rows) {
        frame.render_widget(line::fit(line::text(paint, Role::Dim, row), columns, paint.glyphs), Rect { y, height: 1, ..area });
    }
}

/// Draws the loaded model sets.
pub fn sets(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let focus = Focus::when(focused(model, Pane::Sets));
    let inside = panel::draw(frame, area, paint, "Sets", "", focus);
    let sets = &model.known.sets;
    if sets.is_empty() {
        let key = model.options.keys.said(Layer::Overview, Action::GoTo(Screen::Compose));
        let empty = format!("No model set is loaded. {key} opens the Run form; its first job loads one.");
        return sentence(frame, inside, paint, model, &empty);
    }
    let grid = Grid::fit(SETS, inside.width);
    let inside = grid.draw_heads(frame, area, inside, paint, ("Sets", ""));
    let selected = Some((model.overview.set.min(sets.len() - 1), focus));
    list::draw(frame, inside, paint, sets.len(), selected, |at| grid.row(set_cells(model, &sets[at], data), data));
}

fn set_cells(model: &Model, set: &SetView, paint: &Paint) -> Vec<Line<'static>> {
    let parts = &set.components;
    let planned: Bytes = parts.iter().map(|p| p.planned).sum();
    let real: Bytes = parts.iter().map(|p| p.bytes).sum();
    // A part that lies on two devices is listed twice.
    let mut roles: Vec<&str> = parts.iter().map(|p| short(p.role, &set.family)).collect();
    roles.dedup();
    let mut precisions: Vec<&str> = parts.iter().map(|p| p.precision.as_str()).collect();
    precisions.dedup();
    let mut places: Vec<(String, Bytes)> = Vec::new();
    for part in parts {
        let id = place(part.device);
        match places.iter_mut().find(|(d, _)| *d == id) {
            Some((_, bytes)) => *bytes += part.bytes,
            None => places.push((id, part.bytes)),
        }
    }
    let places: Vec<String> = places.into_iter().map(|(d, b)| format!("{d}:{}", wording::gib(b))).collect();
    // A plan that did not come true is what operators complain about most.
    let (planned_of_it, _) = alerts::planned_and_real(set);
    let real_role = Paint::role_of(alerts::differing(planned_of_it, real));
    let mark = if real_role == Role::Warn { paint.mark(Role::Warn) } else { "" };
    let used = match (set.used_by, set.last_used) {
        (Some(job), _) => line::text(paint, Role::Ok, format!("run {job}")),
        (None, Some(at)) => line::text(paint, Role::Dim, wording::span(model.now.since(at).as_secs_f64())),
        (None, None) => line::text(paint, Role::Dim, ABSENT),
    };
    vec![
        line::text(paint, Role::Text, &set.name),
        line::text(paint, Role::Dim, roles.join(" ")),
        line::text(paint, Role::Dim, precisions.join(" ")),
        line::text(paint, Role::Text, wording::gib(planned)),
        line::text(paint, real_role, format!("{mark}{}", wording::gib(real))),
        line::text(paint, Role::Dim, places.join(" ")),
        used,
    ]
}

/// A device's name in a few columns: GPUs by their number.
fn place(device: DeviceId) -> String {
    match device {
        DeviceId::Cuda(n) => n.to_string(),
        DeviceId::Amd(n) => format!("amd{n}"),
        DeviceId::Sim(n) => format!("{SIMULATED} {n}"),
        DeviceId::Cpu | DeviceId::Disk => device.to_string(),
    }
}

/// A part's name as people abbreviate it.
fn short(role: FamilyRole, family: &str) -> &'static str {
    match role {
        FamilyRole::Denoiser if family.starts_with("sd1") || family.starts_with("sd2") || family.starts_with("sdxl") => "unet",
        FamilyRole::Denoiser => "dit",
        FamilyRole::ClipL | FamilyRole::ClipG | FamilyRole::T5 | FamilyRole::Qwen => "te",
        FamilyRole::Vae => "vae",
    }
}

/// Draws the jobs, from what runs on. The panel follows the cursor only while keys act on it, and says then what stands above.
pub fn queue(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let focus = Focus::when(focused(model, Pane::Queue));
    let shown = model.queue.shown(&model.known);
    let cursor = model.queue.cursor(&shown).map(|at| (at, focus));
    let (first, note) = first_job(model, cursor, Lines::of(frame.area().width), area.height);
    let inside = panel::draw(frame, area, paint, "Queue", &note, focus);
    if shown.is_empty() {
        return sentence(frame, inside, paint, model, &rows::empty(model));
    }
    let grid = Grid::fit(rows::BRIEF, inside.width);
    let inside = grid.draw_heads(frame, area, inside, paint, ("Queue", &note));
    let estimates = rows::estimates(model);
    list::draw_from(frame, inside, paint, first..shown.len(), cursor, |at| rows::brief(model, shown[at], &estimates, &grid, data));
}

/// Returns the first job that is seen in a panel so high, and what stands beside the panel's title.
fn first_job(model: &Model, cursor: Option<(usize, Focus)>, lines: Lines, height: u16) -> (usize, String) {
    let note = rows::note(model);
    let inside = usize::from(height.saturating_sub(lines.rows()));
    // Heads have a row of their own in a box, and where the rule says something.
    let seen = |note: &str| inside.saturating_sub(usize::from(lines == Lines::Boxes || !note.is_empty())).max(1);
    match cursor {
        Some((at, Focus::Here)) if at >= seen(&note) => {
            let first = (at + 1).saturating_sub(seen("above"));
            (first, [format!("{first} above"), note].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
        }
        Some(_) | None => (0, note),
    }
}

/// Returns the devices whose past is drawn: GPUs, or the host where there is none.
#[must_use]
pub fn graphed(model: &Model) -> Vec<&Past> {
    let is_gpu = |kind: DeviceKind| matches!(kind, DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim);
    let past_of = |gpus: bool| -> Vec<&Past> {
        let devices = model.known.devices.iter().filter(|d| d.kind != DeviceKind::Disk && is_gpu(d.kind) == gpus && !d.mig);
        devices.filter_map(|d| model.known.history.of(d.id)).take(4).collect()
    };
    let gpus = past_of(true);
    if gpus.is_empty() { past_of(false) } else { gpus }
}

/// Draws what devices did lately.
pub fn history(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let inside = panel::draw(frame, area, paint, "History", "", Focus::Elsewhere);
    let pasts = graphed(model);
    let series: Vec<_> = pasts
        .iter()
        .flat_map(|past| {
            let answers = |d: &&DeviceReading| d.id == past.device && matches!(d.health, Health::Ok | Health::Degraded { .. });
            let reading = model.known.devices.iter().find(answers);
            let memory = reading.and_then(|d| d.memory).map_or_else(|| ABSENT.to_owned(), |m| format!("{} GiB", wording::gib(m.used)));
            let busy = reading.and_then(|d| d.utilization).map_or_else(|| ABSENT.to_owned(), wording::percent);
            [(past.device, "memory", &past.memory, memory), (past.device, "busy", &past.utilization, busy)]
        })
        .collect();
    let each = (inside.height / (series.len() as u16).max(1)).clamp(1, HIGHEST);
    for (place, (device, what, samples, now)) in (0u16..).zip(series) {
        let y = inside.y + place * each;
        if y + each > inside.bottom() || inside.width < 40 {
            break;
        }
        let label = line::text(data, Role::Label, format!("{device} {what}"));
        frame.render_widget(label, Rect { y, height: 1, width: 16, ..inside });
        let graph = Rect { x: inside.x + 16, y, width: inside.width - 27, height: each };
        sweep::draw(frame, graph, data, samples, data.device(device));
        let value = line::fit_right(line::text(data, Role::Text, now), 10, paint.glyphs);
        frame.render_widget(value, Rect { x: graph.right() + 1, y: y + each - 1, width: 10, height: 1 });
    }
}

/// Draws what happened, the newest first.
pub fn events(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let focus = Focus::when(focused(model, Pane::Events));
    let inside = panel::draw(frame, area, paint, "Events", "", focus);
    let notices = &model.known.notices;
    if notices.is_empty() {
        return sentence(frame, inside, paint, model, "Nothing happened yet.");
    }
    let last = notices.len() - 1;
    let selected = Some((model.overview.event.min(last), focus));
    list::draw(frame, inside, paint, notices.len(), selected, |at| {
        line::fit(notice(&notices[last - at], data), usize::from(inside.width), paint.glyphs)
    });
}

fn notice(notice: &Notice, paint: &Paint) -> Line<'static> {
    let (word, role) = match notice.level.as_str() {
        "crit" => ("CRIT", Role::Crit),
        "fail" => ("FAIL", Role::Crit),
        "warn" => ("WARN", Role::Warn),
        _ => ("info", Role::Dim),
    };
    // What went wrong is read in its colour, not only named so.
    let text = if role == Role::Dim { Role::Text } else { role };
    Line::from(vec![
        piece(paint, Role::Dim, format!("{} ", notice.time.time_of_day())),
        piece(paint, role, word),
        piece(paint, text, format!(" {}", notice.text)),
    ])
}
