//! Sets and their parts as rows: what each takes, who shares it, how long it stays.

use std::collections::HashSet;

use ratatui::text::Line;

use super::Row;
use super::deeds::Deed;
use crate::devices::Labelled;
use crate::theme::Role;
use crate::tui::alerts;
use crate::tui::asked::Purpose;
use crate::tui::known::Known;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::data_table::{Column, Side};
use crate::tui::widgets::line;
use crate::tui::wording::{self, ABSENT};
use crate::units::{Bytes, Grade};
use crate::wire::SetView;
use crate::wire::status::PartView;
use crate::workflow::SetId;

/// The columns.
pub const COLUMNS: &[Column] = &[
    Column { title: "  SET", min: 15, grow: 3, side: Side::Left, keep: 10 },
    Column { title: "TYPE", min: 6, grow: 1, side: Side::Left, keep: 3 },
    Column { title: "PLAN GiB", min: 8, grow: 0, side: Side::Right, keep: 2 },
    Column { title: "REAL GiB", min: 8, grow: 0, side: Side::Right, keep: 9 },
    Column { title: "ALONE GiB", min: 9, grow: 0, side: Side::Right, keep: 6 },
    Column { title: "DEVICE", min: 6, grow: 1, side: Side::Left, keep: 5 },
    Column { title: "SHARED WITH", min: 11, grow: 2, side: Side::Left, keep: 4 },
    Column { title: "USED", min: 10, grow: 1, side: Side::Left, keep: 7 },
    Column { title: "STAYS", min: 7, grow: 1, side: Side::Left, keep: 8 },
];

/// What stands before a pinned set.
const PINNED: &str = "P";

/// Returns what to say of all sets, beside the title.
#[must_use]
pub fn note(model: &Model) -> String {
    let sets = &model.known.sets;
    let mut parts: Vec<String> = Vec::new();
    if !sets.is_empty() {
        parts.push(format!("{} loaded, {}", sets.len(), once(sets)));
        let pinned = sets.iter().filter(|set| set.pinned).count();
        parts.extend((pinned > 0).then(|| format!("{pinned} pinned")));
    }
    if !model.sets.filter.is_empty() {
        parts.push(format!("filter: {}", model.sets.filter.input.value().trim()));
    }
    if model.asked.waits_for(|p| matches!(p, Purpose::Set { deed: Deed::Load, .. })) {
        parts.push("loading".to_owned());
    }
    parts.join(", ")
}

/// Returns the bytes of all sets, a part that several share counted once.
fn once(sets: &[SetView]) -> Bytes {
    let mut counted = HashSet::new();
    let parts = sets.iter().flat_map(|set| set.components.iter().map(move |part| (set.device, part)));
    parts.filter(|(device, part)| counted.insert((*device, part.copy, part.device))).map(|(_, part)| part.bytes).sum()
}

/// Returns the cells of a row.
#[must_use]
pub fn cells(model: &Model, row: &Row<'_>, paint: &Paint) -> Vec<Line<'static>> {
    match row.part {
        None => of_set(model, row.set, paint),
        Some((_, part)) => of_part(&model.known, row.set, part, paint),
    }
}

fn of_set(model: &Model, set: &SetView, paint: &Paint) -> Vec<Line<'static>> {
    let planned: Bytes = set.components.iter().map(|p| p.planned).sum();
    let real: Bytes = set.components.iter().map(|p| p.bytes).sum();
    // That a device holds too much is not made up for by another that holds too little.
    let grade = match set.components.iter().map(|part| alerts::part_kept(set, part)).max() {
        Some(Grade::Crit) => Grade::Crit,
        Some(Grade::Warn | Grade::Fine) | None => {
            let (planned, real) = alerts::planned_and_real(set);
            alerts::differing(planned, real)
        }
    };
    let mark = if set.pinned { PINNED } else { " " };
    let (stays, stays_role) = stays(model, set);
    vec![
        line::join([line::text(paint, Role::Key, mark), line::text(paint, Role::Title, &set.name)], 1),
        line::text(paint, Role::Dim, &set.family),
        line::text(paint, Role::Text, wording::gib(planned)),
        measured(real, grade, paint),
        line::text(paint, Role::Text, wording::gib(set.alone)),
        line::text(paint, Role::Text, Labelled(set.device).to_string()),
        line::text(paint, Role::Dim, shared(&model.known, set)),
        used(model, set, paint),
        line::text(paint, stays_role, stays),
    ]
}

fn of_part(known: &Known, set: &SetView, part: &PartView, paint: &Paint) -> Vec<Line<'static>> {
    let others = sharers(known, set, part);
    let alone = if others.is_empty() { wording::gib(part.bytes) } else { String::new() };
    vec![
        line::text(paint, Role::Text, format!("    {}", part.role.name())),
        line::text(paint, Role::Dim, &part.precision),
        line::text(paint, Role::Text, wording::gib(part.planned)),
        measured(part.bytes, alerts::part_kept(set, part), paint),
        line::text(paint, Role::Text, alone),
        line::text(paint, Role::Text, Labelled(part.device).to_string()),
        line::text(paint, Role::Text, others.join(", ")),
        Line::default(),
        Line::default(),
    ]
}

/// A plan that did not come true is what operators complain about most.
fn measured(real: Bytes, grade: Grade, paint: &Paint) -> Line<'static> {
    let role = Paint::role_of(grade);
    line::text(paint, role, format!("{}{}", paint.mark_of_value(role), wording::gib(real)))
}

/// How many of its parts others use, too.
fn shared(known: &Known, set: &SetView) -> String {
    match &set.shared[..] {
        [] => String::new(),
        [one] => names(known, set, &one.with).join(", "),
        several => format!("{} parts", several.len()),
    }
}

/// Returns the other sets that use a part, by name, or by number where the name does not tell.
#[must_use]
pub fn sharers(known: &Known, set: &SetView, part: &PartView) -> Vec<String> {
    let shared = set.shared.iter().find(|shared| shared.copy == part.copy);
    shared.map(|shared| names(known, set, &shared.with)).unwrap_or_default()
}

fn names(known: &Known, set: &SetView, ids: &[SetId]) -> Vec<String> {
    let other = |id: &SetId| known.sets.iter().find(|other| other.id == *id && other.name != set.name);
    ids.iter().map(|id| other(id).map_or_else(|| id.to_string(), |other| other.name.clone())).collect()
}

fn used(model: &Model, set: &SetView, paint: &Paint) -> Line<'static> {
    match (set.used_by, set.last_used) {
        (Some(job), _) => line::text(paint, Role::Ok, format!("by job {job}")),
        (None, Some(at)) => line::text(paint, Role::Dim, format!("{} ago", wording::span(model.now.since(at).as_secs_f64()))),
        (None, None) => line::text(paint, Role::Dim, ABSENT),
    }
}

/// Returns how long a set stays, in a word or two.
#[must_use]
pub fn stays(model: &Model, set: &SetView) -> (String, Role) {
    match (set.pinned, set.leaves, set.keep_s) {
        (true, ..) => ("pinned".to_owned(), Role::Key),
        (false, Some(at), _) => (wording::span(at.since(model.now).as_secs_f64()), Role::Text),
        // Its time begins when its job is over.
        (false, None, Some(time)) => (format!("+{}", wording::span(time)), Role::Dim),
        (false, None, None) => (ABSENT.to_owned(), Role::Dim),
    }
}
