//! The map of blocks: one cell is one block, head to tail.
//!
//! ```text
//! block   0         10        20
//! active  ccccccccccdddddddd             what an engine holds now
//! draft   cccccddddddddddddd             what is wished
//! diff    .....ddddd........             where a block that moves goes to
//! block 7  cpu>disk  75.0 MiB, 37.5 MiB stored  input_blocks.4.1
//! ```

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::Facts;
use super::state::Pane;
use crate::devices::Labelled;
use crate::placement::OffloadPlan;
use crate::placement::planner::Stay;
use crate::theme::Role;
use crate::tui::hits::Hit;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list;
use crate::units::{BlockIndex, DeviceId};

/// Columns before the cells.
const NAMES: usize = 9;

/// Returns the letter of each device: its number for a GPU, its first letter for others, and another where that is taken.
#[must_use]
pub fn letters(devices: &[DeviceId]) -> Vec<(DeviceId, char)> {
    let mut all: Vec<(DeviceId, char)> = Vec::new();
    for device in devices {
        let wanted = match device {
            DeviceId::Cuda(n) | DeviceId::Sim(n) | DeviceId::Amd(n) => char::from_digit(u32::from(*n), 10).unwrap_or('g'),
            DeviceId::Cpu => 'c',
            DeviceId::Disk => 'd',
        };
        let free = |letter: &char| all.iter().all(|(_, taken)| taken != letter);
        let letter = std::iter::once(wanted).chain("sgabefhijk".chars()).find(free).unwrap_or('?');
        all.push((*device, letter));
    }
    all
}

/// The plans on the screen: what is held, or would be without a wish, and what is wished.
fn plans<'a>(model: &'a Model, facts: &'a Facts) -> (Option<&'a OffloadPlan>, Option<&'a OffloadPlan>) {
    (facts.before().map(|p| &p.plan), model.offload.shown().map(|p| &p.plan))
}

fn devices(model: &Model, facts: &Facts) -> Vec<DeviceId> {
    let (before, after) = plans(model, facts);
    let mut devices = vec![facts.view.compute];
    for home in before.into_iter().chain(after).flat_map(|p| &p.homes) {
        if !devices.contains(home) {
            devices.push(*home);
        }
    }
    devices[1..].sort_unstable();
    devices
}

/// Returns what the cells mean.
#[must_use]
pub fn note(model: &Model, facts: &Facts) -> String {
    let entry = |(device, letter)| format!("{letter} {}", Labelled(device));
    let key: Vec<String> = letters(&devices(model, facts)).into_iter().map(entry).collect();
    format!("a cell is a block: {}", key.join(", "))
}

/// Returns the rows of the map, for an area, and notes where blocks stand in it.
#[must_use]
pub fn lines(model: &Model, facts: &Facts, paint: &Paint, area: Rect) -> Vec<Line<'static>> {
    let (before, after) = plans(model, facts);
    let letters = letters(&devices(model, facts));
    let letter = |device: DeviceId| letters.iter().find(|(d, _)| *d == device).map_or('?', |(_, c)| *c);
    let count = facts.view.blocks.len();
    let room = usize::from(area.width).saturating_sub(NAMES);
    let first = list::first_row(model.offload.block, count, room);
    let seen = first..count.min(first + room);
    let cursor = |at: usize| at == model.offload.block && model.offload.pane == Pane::Blocks;
    let cells = |name: &str, cell: &dyn Fn(usize) -> (char, Style)| {
        let mut spans: Vec<Span<'static>> = vec![piece(paint, Role::Label, format!("{name:<NAMES$}"))];
        for at in seen.clone() {
            let (c, style) = cell(at);
            let style = if cursor(at) { style.patch(paint.style(Role::Selection)) } else { style };
            spans.push(Span::styled(c.to_string(), style));
        }
        Line::from(spans)
    };
    let home = |plan: Option<&OffloadPlan>, at: usize| plan.and_then(|p| p.homes.get(at).copied());
    let is_pinned = |at: usize| u32::try_from(at).is_ok_and(|at| model.offload.pins.of(BlockIndex(at)).is_some());
    let of = |plan: Option<&OffloadPlan>, at: usize| {
        home(plan, at).map_or((' ', Style::default()), |device| (letter(device), paint.device(device)))
    };
    let held = if facts.active.is_some() { "active" } else { "all here" };
    let old = model.offload.worked.as_ref().is_some_and(|w| w.outcome.is_err());
    let drafted = if old { "before" } else { "draft" };
    let diff = |at: usize| match (home(before, at), home(after, at)) {
        (Some(from), Some(to)) if from != to => (letter(to), paint.device(to)),
        _ => ('.', paint.style(Role::Dim)),
    };
    let mut lines = Vec::new();
    if area.height > 4 {
        lines.push(ruler(paint, first, seen.len()));
    }
    lines.push(cells(held, &|at| of(before, at)));
    lines.push(cells(drafted, &|at| {
        let (letter, style) = of(after, at);
        // What is pinned stands out where there is no row for it.
        (letter, if is_pinned(at) { style.add_modifier(Modifier::UNDERLINED | Modifier::BOLD) } else { style })
    }));
    if area.height > 5 && !model.offload.pins.is_empty() {
        lines.push(cells("pinned", &|at| if is_pinned(at) { ('^', paint.style(Role::Key)) } else { (' ', Style::default()) }));
    }
    if area.height > 3 {
        lines.push(cells("diff", &diff));
    }
    // The block at hand stands in the last row, however few there are.
    lines.truncate(usize::from(area.height).saturating_sub(1).max(1));
    if area.height < 4 {
        lines.drain(..lines.len().saturating_sub(usize::from(area.height).saturating_sub(1)));
    }
    for (x, at) in (area.x + NAMES as u16..).zip(seen) {
        let cell = Rect { x, y: area.y, width: 1, height: lines.len() as u16 };
        paint.hits.note(cell, Hit::Block(at));
    }
    lines.push(at_hand(model, facts, paint, home(before, model.offload.block), home(after, model.offload.block)));
    lines
}

fn ruler(paint: &Paint, first: usize, count: usize) -> Line<'static> {
    let mut marks = String::new();
    for at in first..first + count {
        let number = at.to_string();
        if at % 10 == 0 && marks.len() <= at - first && at - first + number.len() <= count {
            marks.push_str(&" ".repeat(at - first - marks.len()));
            marks.push_str(&number);
        }
    }
    line::text(paint, Role::Dim, format!("{:<NAMES$}{marks}", "block"))
}

fn at_hand(model: &Model, facts: &Facts, paint: &Paint, before: Option<DeviceId>, after: Option<DeviceId>) -> Line<'static> {
    let at = model.offload.block;
    let (Some(block), Some(unit)) = (facts.view.blocks.get(at), facts.view.network.units.get(at)) else { return Line::default() };
    let place = match (before, after) {
        (Some(from), Some(to)) if from != to => format!("{from}{}{to}", paint.glyphs.arrow),
        (_, Some(to)) => format!("on {to}"),
        (Some(from), None) => format!("on {from}"),
        (None, None) => String::new(),
    };
    let pinned = model.offload.pins.of(model.offload.at_hand()).map(|device| format!(", pinned to {device}"));
    let stays = if unit.stay == Stay::Pinned { ", never leaves".to_owned() } else { pinned.unwrap_or_default() };
    let stored = if block.stored == unit.bytes { String::new() } else { format!(", {} stored", block.stored) };
    let name = line::text(paint, Role::Text, format!("block {at}  {place}{stays}"));
    let size = line::text(paint, Role::Dim, format!("{}{stored}", unit.bytes));
    line::join([name, size, line::text(paint, Role::Text, &block.name)], 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_letter_of_its_own() {
        let all = [DeviceId::Sim(0), DeviceId::Cuda(0), DeviceId::Cuda(11), DeviceId::Cpu, DeviceId::Disk];
        let given: Vec<char> = letters(&all).into_iter().map(|(_, letter)| letter).collect();
        assert_eq!(given, ['0', 's', 'g', 'c', 'd']);
    }
}
