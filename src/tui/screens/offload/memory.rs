//! What each device holds now, and what it would hold: all that is there, of which the draft replaces what is this
//! network's, blocks and staging memory.
//!
//! ```text
//! DEVICE      NOW        DRAFT      CHANGE      MARGIN
//! cpu         29.5/125   23.8/125   -5.7 GiB    88.7 GiB  ok
//!   weights   3.2        0.8        of 3.2, 0.2 pass through
//! disk        holds 2.4 GiB of what is wished; nothing is written
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::view::put;
use super::{Facts, donors};
use crate::devices::{Labelled, Memory};
use crate::placement::{Planned, Room};
use crate::theme::Role;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line;
use crate::tui::widgets::list::Focus;
use crate::tui::widgets::panel::{self, Lines};
use crate::tui::wording::{self, ABSENT};
use crate::units::{Bytes, DeviceId};

const COLUMNS: [Column; 6] = [
    Column { title: "DEVICE", min: 9, grow: 1, side: Side::Left, keep: 9 },
    Column { title: "NOW", min: 10, grow: 0, side: Side::Right, keep: 6 },
    Column { title: "DRAFT", min: 10, grow: 0, side: Side::Right, keep: 8 },
    Column { title: "CHANGE", min: 10, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "MARGIN", min: 10, grow: 0, side: Side::Right, keep: 5 },
    Column { title: "", min: 4, grow: 2, side: Side::Left, keep: 4 },
];

/// A device's memory before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    device: DeviceId,
    /// What there is, without anything of the engine's.
    room: Option<Room>,
    /// All that the engine has of it now.
    held: Bytes,
    /// What of that is this network's: blocks, and what they pass through.
    own: Bytes,
    /// What the network would have in the place of that; nothing where the wish makes no plan.
    takes: Option<Bytes>,
}

/// What becomes of a device that has room.
struct After {
    used: Bytes,
    margin: Bytes,
    /// What of other sets must leave.
    leaves: Bytes,
}

impl Change {
    /// All that is used now.
    fn now(&self, room: &Room) -> Bytes {
        room.total.saturating_sub(room.free) + self.held
    }

    /// What is used then, or how much is missing. Other sets stay as long as there is room for them.
    fn after(&self, room: &Room, takes: Bytes) -> Result<After, Bytes> {
        let capacity = room.capacity();
        if takes > capacity {
            return Err(takes - capacity);
        }
        // Room that is promised to other parts of the model may be taken by them already.
        let others = self.held.saturating_sub(self.own).saturating_sub(room.committed);
        let leaves = others.saturating_sub(capacity - takes);
        let used = (self.now(room) + takes).saturating_sub(self.own + leaves);
        Ok(After { used, margin: capacity - takes - (others - leaves), leaves })
    }
}

/// Returns the rows that all of it takes: heads stand upon the rule where there is one.
#[must_use]
pub fn rows(model: &Model, facts: &Facts, lines: Lines) -> u16 {
    let devices = changes(model, facts).len() as u16;
    if lines == Lines::Boxes { devices + 2 } else { devices }
}

fn changes(model: &Model, facts: &Facts) -> Vec<Change> {
    let compute = facts.view.compute;
    let mut devices = vec![compute];
    devices.extend(facts.view.held.iter().map(|s| s.device));
    if let Some(planned) = model.offload.shown() {
        devices.extend(facts.amounts(planned).donors());
    }
    devices.extend(donors::chosen(&model.offload, compute));
    devices.sort_by_key(|d| (*d != compute, *d == DeviceId::Disk, *d));
    devices.dedup();
    let change = |device| Change {
        device,
        room: facts.view.machine.rooms.iter().find(|r| r.device == device).copied(),
        held: facts.view.held.iter().filter(|s| s.device == device).map(|s| s.bytes).sum(),
        own: facts.active.as_ref().map_or(Bytes::ZERO, |planned| takes(facts, planned, device)),
        takes: model.offload.planned().map(|planned| takes(facts, planned, device)),
    };
    devices.into_iter().map(change).collect()
}

/// What a plan takes of a device: blocks as they lie there, and on the device that computes what passes through.
fn takes(facts: &Facts, planned: &Planned, device: DeviceId) -> Bytes {
    let compute = facts.view.compute;
    let here = planned.plan.homes.iter().enumerate().filter(|(_, home)| **home == device);
    let blocks: Bytes = here
        .filter_map(|(at, _)| if device == compute { facts.bytes.get(at).copied() } else { facts.view.blocks.get(at).map(|b| b.stored) })
        .sum();
    if device == compute { blocks + planned.staging } else { blocks }
}

/// Draws the panel.
pub fn draw(model: &Model, facts: &Facts, paint: &Paint, frame: &mut Frame, (area, lines): (Rect, Lines)) {
    let inside = panel::draw_with(lines, frame, area, paint, ("Memory", ""), Focus::Elsewhere);
    let changes = changes(model, facts);
    let mut columns = COLUMNS;
    let names = changes.iter().map(|change| wording::width(&Labelled(change.device).to_string()) as u16);
    columns[0].min = names.fold(columns[0].min, u16::max);
    let grid = Grid::fit(&columns, inside.width);
    let below = grid.draw_heads(frame, area, inside, paint, ("Memory", ""));
    let mut lines = Vec::new();
    for change in &changes {
        lines.push(row(change, &grid, paint));
        if change.device == facts.view.compute && usize::from(below.height) > changes.len() {
            lines.push(kept(model, facts, paint));
        }
    }
    put(frame, below, paint, lines);
}

fn row(change: &Change, grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    let name = line::text(paint, Role::Text, Labelled(change.device).to_string());
    let Some(room) = change.room else {
        let (role, text) = match (change.device, change.takes) {
            (DeviceId::Disk, Some(takes)) => (Role::Dim, format!("{takes} come from it; nothing is written")),
            (DeviceId::Disk, None) => (Role::Dim, ABSENT.to_owned()),
            (DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) | DeviceId::Cpu, _) => (Role::Crit, "is not here".to_owned()),
        };
        return grid.row_with_text(name, line::text(paint, role, text), paint);
    };
    let of = |used: Bytes| wording::used_of(Memory { total: room.total, used, free: room.total.saturating_sub(used) });
    let now = line::text(paint, Role::Text, of(change.now(&room)));
    let absent = || line::text(paint, Role::Dim, ABSENT);
    let Some(takes) = change.takes else {
        return grid.row(vec![name, now, absent(), absent(), absent(), line::text(paint, Role::Crit, "no plan")], paint);
    };
    let cells = match change.after(&room, takes) {
        Ok(After { used, margin, leaves }) => {
            let (role, verdict) = if leaves > Bytes::ZERO { (Role::Warn, "ok, others leave") } else { (Role::Ok, "ok") };
            [(Role::Text, of(used)), (Role::Text, signed(change.now(&room), used)), (role, margin.to_string()), (role, verdict.to_owned())]
        }
        Err(missing) => {
            let used = (change.now(&room) + takes).saturating_sub(change.own);
            let (change, margin) = (signed(change.now(&room), used), format!("-{missing}"));
            [(Role::Text, of(used)), (Role::Text, change), (Role::Crit, margin), (Role::Crit, "over".to_owned())]
        }
    };
    let cells = cells.into_iter().map(|(role, text)| line::text(paint, role, text));
    grid.row([name, now].into_iter().chain(cells).collect(), paint)
}

/// What is kept of the model where it is computed.
fn kept(model: &Model, facts: &Facts, paint: &Paint) -> Line<'static> {
    let Some(planned) = model.offload.planned() else { return Line::default() };
    let amounts = facts.amounts(planned);
    let blocks = planned.plan.homes.iter().filter(|home| **home == planned.plan.compute).count() as u64;
    let staging = if planned.staging > Bytes::ZERO { format!(", {} to pass through", planned.staging) } else { String::new() };
    let text = format!("  {} in {}{staging}", amounts.on(amounts.compute), wording::count(blocks, "block"));
    line::text(paint, Role::Dim, text)
}

/// Returns how much more or less something became.
#[must_use]
pub fn signed(before: Bytes, after: Bytes) -> String {
    if after >= before { format!("+{}", after - before) } else { format!("-{}", before - after) }
}
