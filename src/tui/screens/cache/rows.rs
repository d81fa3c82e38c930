//! Conversions as rows: what each was made of, what it is, how it stands.

use ratatui::text::{Line, Span};

use super::{Row, State};
use crate::devices::DeviceKind;
use crate::theme::Role;
use crate::tui::action::{Action, JobVerb};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::bar;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line::{self, piece};
use crate::tui::wording::{self, ABSENT};
use crate::units::{Bytes, Timestamp};
use crate::wire::{CachedState, CachedView, ConversionView};

/// The columns.
pub const COLUMNS: &[Column] = &[
    Column { title: "  SOURCE", min: 15, grow: 4, side: Side::Left, keep: 10 },
    Column { title: "FROM", min: 6, grow: 0, side: Side::Left, keep: 2 },
    Column { title: "TO", min: 9, grow: 1, side: Side::Left, keep: 9 },
    Column { title: "SIZE", min: 9, grow: 0, side: Side::Right, keep: 7 },
    Column { title: "AGE", min: 6, grow: 0, side: Side::Right, keep: 5 },
    Column { title: "USED", min: 6, grow: 0, side: Side::Right, keep: 4 },
    Column { title: "HITS", min: 4, grow: 0, side: Side::Right, keep: 6 },
    Column { title: "ERROR", min: 8, grow: 0, side: Side::Right, keep: 1 },
    Column { title: "STATE", min: 14, grow: 2, side: Side::Left, keep: 8 },
];
const PROGRESS: std::ops::RangeInclusive<usize> = 3..=8;

/// Returns what to say of the cache as a whole, beside its title.
#[must_use]
pub fn note(model: &Model) -> String {
    let state = &model.cache;
    let files = model.known.cached.as_deref().unwrap_or_default();
    let mut parts: Vec<String> = Vec::new();
    if !files.is_empty() {
        let bytes: Bytes = files.iter().map(|f| f.bytes).sum();
        let hits: u64 = files.iter().filter_map(|f| f.hits).sum();
        parts.push(format!("{}, {bytes}, {}", wording::count(files.len() as u64, "file"), wording::count(hits, "use")));
    }
    if !state.filter.is_empty() {
        parts.push(format!("filter: {}", state.filter.input.value().trim()));
    }
    if !state.marked.is_empty() {
        parts.push(format!("{} marked", state.marked.len()));
    }
    if files.len() > 1 {
        parts.push(format!("by {}{}", state.order.name(), if state.reversed { ", reversed" } else { "" }));
    }
    if model.asked.waits_for(|p| matches!(p, crate::tui::asked::Purpose::Cache)) {
        parts.push("reading".to_owned());
    }
    let disk = model.known.devices.iter().find(|d| d.kind == DeviceKind::Disk).and_then(|d| d.memory);
    if let Some(disk) = disk {
        parts.push(format!("{} of {} GiB of the disk free", wording::gib(disk.free), wording::gib(disk.total)));
    }
    parts.join(", ")
}

/// Returns a row.
#[must_use]
pub fn row(model: &Model, row: &Row<'_>, grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    match row {
        Row::Conversion(conversion) => on_its_way(model, conversion, grid, paint),
        Row::File(file) => grid.row(cells(model, file, paint), paint),
    }
}

fn on_its_way(model: &Model, conversion: &ConversionView, grid: &Grid<'_>, paint: &Paint) -> Line<'static> {
    let name = line::text(paint, Role::Text, format!("  {}", wording::stem(&conversion.source)));
    let cells = vec![name, Line::default(), line::text(paint, Role::Text, conversion.to.to_string())];
    let words = progress(model, conversion);
    let widths: u16 = PROGRESS.map(|at| grid.width(at)).filter(|w| *w > 0).map(|w| w + 1).sum::<u16>().saturating_sub(1);
    let room = widths.saturating_sub(wording::width(&words) as u16 + 1).min(30);
    let mut text = if room >= 6 { bar::share(paint, Role::Bar, conversion.ratio(), room) } else { Line::default() };
    let role = if conversion.paused { Role::Warn } else { Role::Text };
    text.spans.push(piece(paint, role, format!(" {words}")));
    let all = [cells, vec![Line::default(); COLUMNS.len() - 3]].concat();
    grid.row_across(all, PROGRESS, text, paint)
}

/// Returns how far a conversion is, how fast, and how long it will still take.
#[must_use]
pub fn progress(model: &Model, conversion: &ConversionView) -> String {
    let percent = format!("{:.0}%", conversion.ratio() * 100.0);
    if conversion.paused {
        let key = model.options.keys.said(Layer::Cache, Action::Job(JobVerb::PauseConversions));
        return format!("{percent}, paused; {key} lets it go on");
    }
    if !conversion.running {
        return "waits for its turn".to_owned();
    }
    let speed = conversion.done.get() as f64 / conversion.seconds.max(0.001);
    let speed = if conversion.seconds >= 1.0 { format!(", {}", wording::speed(speed)) } else { String::new() };
    let left = conversion.left_s().map(|s| format!(", {} left", wording::countdown(s))).unwrap_or_default();
    format!("{percent}{speed}{left}")
}

fn cells(model: &Model, file: &CachedView, paint: &Paint) -> Vec<Line<'static>> {
    let marked = model.cache.marked.contains(&file.path);
    let mark = if marked { format!("{} ", paint.glyphs.marked) } else { "  ".to_owned() };
    let name = file.source.as_deref().unwrap_or(&file.path);
    let ago = |at: Option<Timestamp>| at.map_or_else(|| ABSENT.to_owned(), |at| wording::span(model.now.since(at).as_secs_f64()));
    let dim = |text: String| line::text(paint, Role::Dim, text);
    vec![
        Line::from(vec![piece(paint, Role::Key, mark), piece(paint, Role::Text, wording::stem(name))]),
        dim(file.from.clone().unwrap_or_default()),
        line::text(paint, Role::Text, file.to.clone().unwrap_or_else(|| ABSENT.to_owned())),
        line::text(paint, Role::Text, file.bytes.to_string()),
        dim(ago(file.made)),
        dim(ago(file.used)),
        line::text(paint, Role::Text, file.hits.map_or_else(|| ABSENT.to_owned(), |h| h.to_string())),
        dim(file.rel_l2_mean.map_or_else(|| ABSENT.to_owned(), |e| format!("{e:.1e}"))),
        state(&model.cache, file, paint),
    ]
}

/// Returns how a file stands: what is being done with it, what was found, what is wrong.
#[must_use]
pub fn state(cache: &State, file: &CachedView, paint: &Paint) -> Line<'static> {
    let mut line = match file.state {
        _ if cache.verifying.front() == Some(&file.path) => line::text(paint, Role::Ok, "being read"),
        _ if cache.verifying.contains(&file.path) => line::text(paint, Role::Dim, "to be read"),
        _ if cache.read(&file.path).is_some_and(|v| v.problem.is_some()) => line::text(paint, Role::Crit, "DAMAGED"),
        CachedState::Damaged => line::text(paint, Role::Crit, "DAMAGED"),
        CachedState::Valid if cache.read(&file.path).is_some_and(|v| v.problem.is_none()) => line::text(paint, Role::Ok, "intact, read"),
        CachedState::Valid => line::text(paint, Role::Ok, "valid"),
        stale @ (CachedState::Stale | CachedState::Orphaned) => {
            line::text(paint, Role::Warn, format!("{} {}", paint.mark(Role::Warn), stale.name()))
        }
        CachedState::Unfinished => line::text(paint, Role::Dim, "unfinished"),
    };
    let also = [(file.in_use, "in use"), (file.outside, "outside"), (file.kept, "kept")];
    for (_, word) in also.into_iter().filter(|(is, _)| *is) {
        line.spans.push(Span::raw(" "));
        line.spans.push(piece(paint, Role::Dim, word));
    }
    line
}
