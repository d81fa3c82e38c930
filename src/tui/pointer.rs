//! What the mouse does, where it is on: a click selects a row, a block, a panel or a screen, the wheel goes up and down. Nothing that
//! acts on things is ever done by it.

use ratatui::layout::Rect;

use super::action::{Action, Motion};
use super::effect::Effect;
use super::hits::Hit;
use super::layer::Layer;
use super::model::Model;
use super::screens::{Screen, gallery, offload, overview};
use super::{act, view};

/// Rows that one notch of the wheel goes.
const NOTCH: usize = 3;

/// What the mouse did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// Its first button was pressed.
    Click,
    /// The wheel was turned away from the hand.
    WheelUp,
    /// The wheel was turned towards the hand.
    WheelDown,
}

/// What the mouse did, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// What.
    pub gesture: Gesture,
    /// The column, from 0.
    pub column: u16,
    /// The row, from 0.
    pub row: u16,
}

/// Takes in what the mouse did.
pub fn point(model: &mut Model, pointer: Pointer) -> Vec<Effect> {
    if !model.mouse {
        return Vec::new();
    }
    match pointer.gesture {
        Gesture::WheelUp => go(model, Motion::Up, NOTCH),
        Gesture::WheelDown => go(model, Motion::Down, NOTCH),
        Gesture::Click => return click(model, pointer),
    }
    Vec::new()
}

/// Goes so many rows, where keys would go, too.
fn go(model: &mut Model, motion: Motion, rows: usize) {
    let keys = &model.options.keys;
    let goes = model.layers().iter().any(|layer| keys.of(*layer).any(|bound| bound.row.action == Action::Move(motion)));
    for _ in 0..if goes { rows } else { 0 } {
        act::go(model, motion);
    }
}

fn click(model: &mut Model, Pointer { column, row, .. }: Pointer) -> Vec<Effect> {
    // A question is answered by a key.
    if model.confirm.is_some() {
        return Vec::new();
    }
    let hit = model.paint.hits.at(column, row);
    let covered = model.paint.hits.is_covered();
    if let Some(Hit::Tab(screen)) = hit {
        let reachable = model.layers().contains(&Layer::Everywhere);
        return if reachable { act::act(model, Action::GoTo(screen)) } else { Vec::new() };
    }
    if !covered && model.screen == Screen::Overview {
        let body = view::body(view::below_hosts(model, Rect { x: 0, y: 0, width: model.size.0, height: model.size.1 }));
        if let Some(pane) = overview::view::pane_at(model, body, (column, row)) {
            model.overview.pane = pane;
        }
    }
    if !covered && model.screen == Screen::Gallery {
        gallery::update::select_at(model, (column, row));
    }
    match hit {
        Some(Hit::Row { at, selected }) => {
            let motion = if at < selected { Motion::Up } else { Motion::Down };
            go(model, motion, at.abs_diff(selected));
        }
        Some(Hit::Block(block)) => offload::update::select(model, block),
        Some(Hit::Tab(_) | Hit::Box) | None => {}
    }
    Vec::new()
}
