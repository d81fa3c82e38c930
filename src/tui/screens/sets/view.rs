//! Draws the model sets.
//!
//! ```text
//! ┌ Sets ─ 2 loaded, 44.0 GiB ──────────────────────────────────────┐
//! │ SET               TYPE   PLAN   REAL DEVICE   USED               │
//! │ qwen-night        qwen   38.5   38.4 cuda:0   by job 41          │
//! │   denoiser        bf16   18.7   18.7 cuda:0                      │
//! │   denoiser        bf16   19.6 ! 12.0 cpu                         │  a plan that did not come true
//! └─────────────────────────────────────────────────────────────────┘
//! ┌ Engines ────────────────────────────────────────────────────────┐
//! │ cuda:0  busy    pid 88123  libtorch 2.11.0                       │
//! └─────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::state::Row;
use crate::devices::Labelled;
use crate::theme::Role;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line;
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::panel;
use crate::tui::wording::{self, ABSENT, PENDING};
use crate::units::Bytes;
use crate::wire::{EngineState, EngineView, SetView};

const COLUMNS: &[Column] = &[
    Column { title: "SET", min: 18, grow: 3, side: Side::Left, keep: 9 },
    Column { title: "TYPE", min: 9, grow: 1, side: Side::Left, keep: 6 },
    Column { title: "PLAN GiB", min: 8, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "REAL GiB", min: 8, grow: 0, side: Side::Right, keep: 8 },
    Column { title: "DEVICE", min: 8, grow: 1, side: Side::Left, keep: 5 },
    Column { title: "USED", min: 14, grow: 2, side: Side::Left, keep: 4 },
];

/// From this height on, engines are listed below.
const ENGINES_FROM: u16 = 14;

/// Draws the sets.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let data = paint.faded_if(matches!(model.freshness(), Freshness::Old(_)));
    let engines = &model.known.engines;
    let frame_rows = panel::overhead(area.width).saturating_sub(1).max(1);
    let lower =
        if area.height >= ENGINES_FROM && !engines.is_empty() { frame_rows + (engines.len() as u16).min(area.height / 4) } else { 0 };
    let upper = Rect { height: area.height - lower, ..area };
    let shown = model.sets.shown(&model.known);
    let note = note(model);
    let inside = panel::draw(frame, upper, paint, "Sets", &note, Focus::Here);
    if shown.is_empty() {
        let sentence = line::text(paint, Role::Dim, empty(model));
        frame.render_widget(line::fit(sentence, usize::from(inside.width), paint.glyphs), Rect { height: inside.height.min(1), ..inside });
    } else {
        let grid = Grid::fit(COLUMNS, inside.width);
        let below = grid.draw_heads(frame, upper, inside, paint, ("Sets", &note));
        let cursor = model.sets.cursor(&shown).map(|at| (at, Focus::Here));
        list::draw(frame, below, paint, shown.len(), cursor, |at| grid.row(cells(model, &shown[at], &data), &data));
    }
    if lower > 0 {
        let area = Rect { y: upper.bottom(), height: lower, ..area };
        let inside = panel::draw(frame, area, paint, "Engines", "", Focus::Elsewhere);
        for (y, engine) in (inside.y..inside.bottom()).zip(engines) {
            let text = line::fit(self::engine(engine, &data), usize::from(inside.width), paint.glyphs);
            frame.render_widget(text, Rect { y, height: 1, ..inside });
        }
    }
}

fn note(model: &Model) -> String {
    let sets = &model.known.sets;
    let bytes: Bytes = sets.iter().flat_map(|s| &s.components).map(|p| p.bytes).sum();
    let filter = &model.sets.filter;
    let filter = if filter.is_empty() { String::new() } else { format!(", filter: {}", filter.input.value().trim()) };
    if sets.is_empty() { String::new() } else { format!("{} loaded, {bytes}{filter}", sets.len()) }
}

fn empty(model: &Model) -> &'static str {
    match (model.freshness(), &model.link) {
        (Freshness::Unheard, Link::Down { .. }) => "Sets are unknown until a daemon answers. Start one: perilune serve",
        (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING,
        (Freshness::Live | Freshness::Old(_), _) if model.known.sets.is_empty() => {
            "No model set is loaded. 7 opens the Run form; its first job loads one."
        }
        (Freshness::Live | Freshness::Old(_), _) => "No set holds these words. esc drops the filter.",
    }
}

fn cells(model: &Model, row: &Row<'_>, paint: &Paint) -> Vec<Line<'static>> {
    let Row { set, part } = row;
    let (name, kind, planned, real, device, used) = match part {
        None => {
            let planned: Bytes = set.components.iter().map(|p| p.planned).sum();
            let real: Bytes = set.components.iter().map(|p| p.bytes).sum();
            let name = line::text(paint, Role::Title, &set.name);
            (name, set.family.clone(), planned, real, set.device, used(model, set, paint))
        }
        Some((_, part)) => {
            let name = line::text(paint, Role::Text, format!("  {}", part.role.name()));
            (name, part.precision.clone(), part.planned, part.bytes, part.device, Line::default())
        }
    };
    // A plan that did not come true is what operators complain about most.
    let differs = planned > Bytes::ZERO && (real.ratio_of(planned) - 1.0).abs() > 0.1;
    let (role, mark) = if differs { (Role::Warn, paint.mark(Role::Warn)) } else { (Role::Text, "") };
    vec![
        name,
        line::text(paint, Role::Dim, kind),
        line::text(paint, Role::Text, wording::gib(planned)),
        line::text(paint, role, format!("{mark}{}", wording::gib(real))),
        line::text(paint, Role::Text, Labelled(device).to_string()),
        used,
    ]
}

fn used(model: &Model, set: &SetView, paint: &Paint) -> Line<'static> {
    match (set.used_by, set.last_used) {
        (Some(job), _) => line::text(paint, Role::Ok, format!("by job {job}")),
        (None, Some(at)) => line::text(paint, Role::Dim, format!("{} ago", wording::span(model.now.since(at).as_secs_f64()))),
        (None, None) => line::text(paint, Role::Dim, ABSENT),
    }
}

fn engine(engine: &EngineView, paint: &Paint) -> Line<'static> {
    let (word, role) = match engine.state {
        EngineState::Starting => ("starting", Role::Dim),
        EngineState::Ready => ("ready", Role::Text),
        EngineState::Busy => ("busy", Role::Ok),
        EngineState::Backoff => ("RETRY", Role::Warn),
        EngineState::Broken => ("BROKEN", Role::Crit),
    };
    let retry = engine.retry_in_s.map(|s| format!("in {}", wording::span(s)));
    let pid = engine.pid.map(|p| format!("pid {p}"));
    let exit = engine.last_exit.as_ref().map(|e| format!("last exit: {e}"));
    let rest: Vec<String> = [retry, pid, engine.about.clone(), exit].into_iter().flatten().collect();
    line::join(
        [
            line::text(paint, Role::Text, format!("{:<8}", Labelled(engine.device).to_string())),
            line::text(paint, role, format!("{word:<8}")),
            line::text(paint, Role::Dim, rest.join(", ")),
        ],
        1,
    )
}
