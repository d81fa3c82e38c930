//! Draws the overview.
//!
//! ```text
//! ┌ Devices ──────────────────────────────────────────────┐   ── Devices ────────────
//! │ cuda:0 RTX 4090 [█████▒▒░··] 23.7/24.0  93%  … run 41 │   cuda:0 … run 41
//! └───────────────────────────────────────────────────────┘   ── Sets ───────────────
//! ┌ Sets ───────────────────┐┌ Queue ─────────────────────┐   night  fp16 plan …
//! │ night fp16 1.9  cuda:0  ││ 41 night run ███···· 14/28 │   ── Queue ──────────────
//! └─────────────────────────┘└────────────────────────────┘   41 night run ███··· 14/28
//! ┌ History ──────────────────────────────────────────────┐   ── Events ─────────────
//! │ cuda:0 memory ▆▆▆▆▆▆▆▆▆▆ ▅▅▅▅▅▅▅▅▅▅▅▅▅▅      23.7 GiB │   13:57 WARN …
//! └───────────────────────────────────────────────────────┘
//! ┌ Events ───────────────────────────────────────────────┐   boxes from 100 columns on,
//! └───────────────────────────────────────────────────────┘   rules below; History where it fits
//! ```

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::{Pane, devices, panels};
use crate::tui::model::{Freshness, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::queue::rows;
use crate::tui::widgets::panel;

/// From this width on, sets and jobs stand side by side.
const BESIDE_FROM: u16 = 116;

/// Draws the overview.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let old = matches!(model.freshness(), Freshness::Old(_));
    let data = paint.faded_if(old);
    let areas = Areas::of(model, area);
    devices::draw(model, paint, &data, frame, areas.devices);
    panels::sets(model, paint, &data, frame, areas.sets);
    panels::queue(model, paint, &data, frame, areas.queue);
    if let Some(area) = areas.history {
        panels::history(model, paint, &data, frame, area);
    }
    panels::events(model, paint, &data, frame, areas.events);
}

/// Returns the panel at a column and row, where `area` is that of the screen.
#[must_use]
pub fn pane_at(model: &Model, area: Rect, (x, y): (u16, u16)) -> Option<Pane> {
    let areas = Areas::of(model, area);
    let panes = [(areas.devices, Pane::Devices), (areas.sets, Pane::Sets), (areas.queue, Pane::Queue), (areas.events, Pane::Events)];
    panes.into_iter().find(|(area, _)| area.contains(Position { x, y })).map(|(_, pane)| pane)
}

struct Areas {
    devices: Rect,
    sets: Rect,
    queue: Rect,
    history: Option<Rect>,
    events: Rect,
}

impl Areas {
    fn of(model: &Model, area: Rect) -> Self {
        let extra = panel::overhead(area.width);
        let devices = (extra + devices::rows(model, area)).min(area.height / 2 + 1);
        let sets = extra + (model.known.sets.len() as u16).clamp(1, 5);
        let noted = u16::from(extra == 1 && !rows::note(model).is_empty());
        let jobs = extra + noted + (model.known.jobs.len() as u16).clamp(2, 14);
        let mut column = Column { area, y: area.y };
        let devices = column.take(devices);
        let least_events = if extra == 1 { 3 } else { 4 };
        if area.width >= BESIDE_FROM {
            let left = column.left();
            let graphs = 2 + 2 * panels::graphed(model).len() as u16;
            let history = (left >= graphs + least_events + 8 && graphs > 2).then_some(graphs);
            let lists = sets.max(jobs).min(left.saturating_sub(history.unwrap_or(0) + least_events));
            let lists = column.take(lists);
            let half = Rect { width: area.width * 9 / 20, ..lists };
            let queue = Rect { x: half.right(), width: area.width - half.width, ..lists };
            // What is left over makes the graphs higher.
            let history = history.map(|needed| {
                let spare = column.left().saturating_sub(needed + least_events + 6);
                let rows = 2 * panels::graphed(model).len() as u16;
                column.take(needed + spare / rows * rows)
            });
            return Self { devices, sets: half, queue, history, events: column.rest() };
        }
        let sets = column.take(sets.min(column.left() / 3));
        let left = column.left();
        let queue = column.take(jobs.min(left.saturating_sub(least_events)));
        let left = column.left();
        let frame = if extra == 1 { 1 } else { 2 };
        let graphs = frame + 2 * panels::graphed(model).len() as u16;
        let history = (graphs > frame && left >= graphs + extra + 4).then(|| column.take(graphs));
        Self { devices, sets, queue, history, events: column.rest() }
    }
}

/// An area that is taken from the top.
struct Column {
    area: Rect,
    y: u16,
}

impl Column {
    fn left(&self) -> u16 {
        self.area.bottom().saturating_sub(self.y)
    }

    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.left());
        let taken = Rect { y: self.y, height, ..self.area };
        self.y += height;
        taken
    }

    fn rest(&mut self) -> Rect {
        self.take(u16::MAX)
    }
}

/// Returns whether a panel has the keys.
#[must_use]
pub fn focused(model: &Model, pane: Pane) -> bool {
    model.overview.pane == pane
}
