//! Draws one device.
//!
//! ```text
//! [cuda:0]  cuda:1  cuda:3 LOST  cpu  disk
//! ┌ cuda:0 NVIDIA GeForce RTX 4090 ──────────────────────────────────┐
//! │ memory   ███████████▒▒░░·· 23.7/24.0 GiB  weights 18.5, …        │
//! │ busy     93%                     power    402 of 450 W           │  facts in columns
//! └──────────────────────────────────────────────────────────────────┘
//! ┌ Last 1 min ──────────────────────────────────────────────────────┐
//! │ memory  ▆▆▆▆▆▆▆▆▆▆▆▆ ▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅    99%, most 99%        │
//! └──────────────────────────────────────────────────────────────────┘
//! ┌ Processes ───────────────────────────────────────────────────────┐
//! │ 88123 ana 21.9 GiB perilune-engine                               │
//! └──────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{facts, graphs, processes};
use crate::devices::{DeviceKind, DeviceReading, Health};
use crate::theme::Role;
use crate::tui::action::{Action, DeviceVerb};
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::overview::devices::ids;
use crate::tui::widgets::line;
use crate::tui::widgets::list::Focus;
use crate::tui::widgets::panel;
use crate::tui::wording::PENDING;

/// Columns of a fact, from which on there is another column of them.
const FACT: u16 = 38;

/// Draws the screen.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let data = paint.faded_if(matches!(model.freshness(), Freshness::Old(_)));
    let Some(reading) = model.devices.reading(&model.known) else { return nothing(model, paint, frame, area) };
    frame.render_widget(strip(model, reading, paint, usize::from(area.width)), Rect { height: 1, ..area });
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let old = paint.faded_if(matches!(reading.health, Health::Lost { .. }));
    let values = if matches!(model.freshness(), Freshness::Old(_)) { &data } else { &old };

    let frame_rows = panel::overhead(area.width).saturating_sub(1).max(1);
    let inner = usize::from(area.width.saturating_sub(if area.width >= panel::BOXES_FROM { 4 } else { 0 }));
    let trouble = facts::trouble(reading, model.now, &data);
    // What is said of a disk needs a whole line.
    let across = if reading.kind == DeviceKind::Disk { 1 } else { (inner / usize::from(FACT)).clamp(1, 3) };
    let all = facts::all(model, reading, values);
    let rows = (all.len().div_ceil(across) + 1 + trouble.len()) as u16;
    // Processes keep a few rows, graphs get what is left, and facts give way last.
    let listed = reading.processes.len();
    let least = frame_rows + if listed > 0 { 3 } else { 1 };
    let facts_rows = (rows + frame_rows).min(body.height.saturating_sub(least));
    let left = body.height - facts_rows;
    let wanted = panel::overhead(area.width) + listed.clamp(1, 8) as u16;
    let most = frame_rows + graphs::count(reading) * graphs::HIGHEST;
    let spare = left.saturating_sub(wanted.min(left / 2).max(least));
    let graph_rows = if spare >= frame_rows + 2 { spare.min(most) } else { 0 };
    let about = Rect { height: facts_rows, ..body };
    let past = Rect { y: about.bottom(), height: graph_rows, ..body };
    let list = Rect { y: past.bottom(), height: body.height - facts_rows - graph_rows, ..body };

    let name = reading.name.as_deref().map(|n| format!(" {n}")).unwrap_or_default();
    let inside = panel::draw(frame, about, paint, &format!("{}{name}", reading.id), &facts::source(reading), Focus::Elsewhere);
    draw_facts(model, reading, (trouble, all), across, (paint, values), frame, inside);
    if graph_rows > 0 {
        let title = format!("Last {}", model.devices.span.name());
        let span = model.options.keys.said(Layer::Devices, Action::Device(DeviceVerb::Span));
        let inside = panel::draw(frame, past, paint, &title, &format!("{span} another time"), Focus::Elsewhere);
        graphs::draw(model, reading, values, frame, inside);
    }
    processes::draw(model, reading, paint, &data, frame, list);
    if let Some(signals) = model.devices.signals {
        processes::draw_signals(signals, paint, frame, area);
    }
}

fn nothing(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let inside = panel::draw(frame, area, paint, "Device", "", Focus::Here);
    let text = match (&model.link, model.freshness()) {
        (Link::Down { .. }, _) => "Devices are unknown until a daemon answers. Start one: perilune serve",
        (_, Freshness::Unheard) => PENDING,
        (_, Freshness::Live | Freshness::Old(_)) => "No device was found.",
    };
    frame.render_widget(line::text(paint, Role::Dim, text), Rect { height: inside.height.min(1), ..inside });
}

/// The devices in a line, the one that is shown marked.
fn strip(model: &Model, shown: &DeviceReading, paint: &Paint, columns: usize) -> Line<'static> {
    let names = ids(&model.known).into_iter().map(|id| {
        let lost = model.known.devices.iter().any(|d| d.id == id && matches!(d.health, Health::Lost { .. }));
        let name = if lost { format!("{id} LOST") } else { id.to_string() };
        match (id == shown.id, lost) {
            (true, _) => line::text(paint, Role::Tab, format!("[{name}]")),
            (false, true) => line::text(paint, Role::Crit, format!(" {name} ")),
            (false, false) => line::text(paint, Role::Text, format!(" {name} ")),
        }
    });
    line::fit(line::join(names, 0), columns, paint.glyphs)
}

fn draw_facts(
    model: &Model,
    reading: &DeviceReading,
    (trouble, all): (Vec<Line<'static>>, Vec<facts::Fact>),
    across: usize,
    (paint, values): (&Paint, &Paint),
    frame: &mut Frame,
    area: Rect,
) {
    let mut y = area.y;
    let columns = usize::from(area.width);
    let above = trouble.into_iter().map(|text| line::fit(text, columns, paint.glyphs));
    for text in above.chain([facts::memory(model, reading, values, columns)]) {
        if y < area.bottom() {
            frame.render_widget(text, Rect { y, height: 1, ..area });
            y += 1;
        }
    }
    // A column is filled before the next, so that what belongs together stands together.
    let rows = all.len().div_ceil(across).max(1);
    let width = area.width / across as u16;
    for (at, fact) in all.into_iter().enumerate() {
        let (column, row) = ((at / rows) as u16, (at % rows) as u16);
        if y + row < area.bottom() {
            let place = Rect { x: area.x + column * width, y: y + row, width, height: 1 };
            frame.render_widget(fact.line(values, usize::from(width.saturating_sub(1))), place);
        }
    }
}
