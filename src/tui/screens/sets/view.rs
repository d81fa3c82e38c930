//! Draws the model sets.
//!
//! ```text
//! ┌ Sets ─ 2 loaded, 44.0 GiB, 1 pinned ────────────────────────────────────────┐
//! │   SET             REAL GiB ALONE GiB DEVICE SHARED WITH USED       STAYS    │
//! │ P qwen-night          38.4      38.2 cuda:0 qwen-noon   by job 41  pinned   │
//! │     denoiser          18.7      18.7 cuda:0                                 │
//! │     denoiser        ! 12.0      12.0 cpu                                    │  a plan that did not come true
//! │     vae                0.2           cuda:0 qwen-noon                       │  counted once
//! └─────────────────────────────────────────────────────────────────────────────┘
//! ┌ Engines ────────────────────────────────────────────────────────────────────┐
//! │ cuda:0  busy    pid 88123  libtorch 2.11.0                                  │
//! └─────────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::menu::{Keep, Stay};
use super::{Menu, rows};
use crate::devices::Labelled;
use crate::theme::Role;
use crate::tui::action::{Action, SetVerb};
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::compose::Field;
use crate::tui::screens::compose::pick::choices;
use crate::tui::screens::compose::view::{draw_choices, no_model};
use crate::tui::widgets::data_table::Grid;
use crate::tui::widgets::line;
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::{panel, popup};
use crate::tui::wording::{self, PENDING};
use crate::wire::{EngineState, EngineView};

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
    let note = rows::note(model);
    let inside = panel::draw(frame, upper, paint, "Sets", &note, Focus::Here);
    if shown.is_empty() {
        let sentence = line::text(paint, Role::Dim, empty(model));
        frame.render_widget(line::fit(sentence, usize::from(inside.width), paint.glyphs), Rect { height: inside.height.min(1), ..inside });
    } else {
        let grid = Grid::fit(rows::COLUMNS, inside.width);
        let below = grid.draw_heads(frame, upper, inside, paint, ("Sets", &note));
        let cursor = model.sets.cursor(&shown).map(|at| (at, Focus::Here));
        list::draw(frame, below, paint, shown.len(), cursor, |at| grid.row(rows::cells(model, &shown[at], &data), &data));
    }
    if lower > 0 {
        let area = Rect { y: upper.bottom(), height: lower, ..area };
        let inside = panel::draw(frame, area, paint, "Engines", "", Focus::Elsewhere);
        let widest = engines.iter().map(|engine| Labelled(engine.device).to_string().len()).max().unwrap_or_default();
        for (y, engine) in (inside.y..inside.bottom()).zip(engines) {
            let text = line::fit(self::engine(engine, widest.max(8), &data), usize::from(inside.width), paint.glyphs);
            frame.render_widget(text, Rect { y, height: 1, ..inside });
        }
    }
    match &model.sets.menu {
        Some(Menu::Keep(keep)) => draw_keep(keep, paint, frame, area),
        Some(Menu::Load(pick)) => {
            let all = choices(Field::Model, &model.known);
            draw_choices(pick, &all, "Load which", &no_model(model), paint, frame, area);
        }
        None => {}
    }
}

/// Draws the list of times.
fn draw_keep(keep: &Keep, paint: &Paint, frame: &mut Frame, area: Rect) {
    let title = format!("How long {} stays", wording::clean(&keep.target.name));
    let inside = popup::draw(frame, area, paint, &title, "", (64, Stay::ALL.len() as u16 + 2));
    list::draw(frame, inside, paint, Stay::ALL.len(), Some((keep.cursor, Focus::Here)), |at| {
        let stay = Stay::ALL[at];
        line::join([line::text(paint, Role::Text, format!(" {:<5}", stay.name())), line::text(paint, Role::Dim, stay.meaning())], 1)
    });
}

fn empty(model: &Model) -> String {
    let keys = &model.options.keys;
    match (model.freshness(), &model.link) {
        (Freshness::Unheard, Link::Down { .. }) => "Sets are unknown until a daemon answers. Start one: perilune serve".to_owned(),
        (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING.to_owned(),
        (Freshness::Live | Freshness::Old(_), _) if model.known.sets.is_empty() => {
            format!("No model set is loaded. {} loads one; a job does, too.", keys.said(Layer::Sets, Action::Set(SetVerb::Load)))
        }
        (Freshness::Live | Freshness::Old(_), _) => {
            format!("No set is like that. {} drops the filter.", keys.said(Layer::Sets, Action::Back))
        }
    }
}

fn engine(engine: &EngineView, name: usize, paint: &Paint) -> Line<'static> {
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
            line::text(paint, Role::Text, format!("{:<name$}", Labelled(engine.device).to_string())),
            line::text(paint, role, format!("{word:<8}")),
            line::text(paint, Role::Dim, rest.join(", ")),
        ],
        1,
    )
}
