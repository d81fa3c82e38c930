//! Who holds a device's memory, and what they can be told.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::fields::whose;
use super::state::{Identity, Signals};
use crate::devices::{DeviceReading, Health, ProcessReading};
use crate::theme::Role;
use crate::tui::action::Action;
use crate::tui::layer::Layer;
use crate::tui::model::{Confirm, Model, Then};
use crate::tui::paint::Paint;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line;
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::{panel, popup};
use crate::tui::wording::{self, ABSENT};
use crate::wire::{ProcessSignal, SignalAsk};

const COLUMNS: &[Column] = &[
    Column { title: "PID", min: 7, grow: 0, side: Side::Right, keep: 9 },
    Column { title: "USER", min: 8, grow: 0, side: Side::Left, keep: 6 },
    Column { title: "CONTAINER", min: 19, grow: 0, side: Side::Left, keep: 2 },
    Column { title: "MEMORY", min: 9, grow: 0, side: Side::Right, keep: 8 },
    Column { title: "SINCE", min: 6, grow: 0, side: Side::Right, keep: 3 },
    Column { title: "WHOSE", min: 8, grow: 0, side: Side::Left, keep: 4 },
    Column { title: "COMMAND", min: 14, grow: 4, side: Side::Left, keep: 7 },
];

/// Draws the processes of a device.
pub fn draw(model: &Model, reading: &DeviceReading, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let shown = model.devices.shown(&model.known);
    let filter = model.devices.filter.input.value().trim();
    let note = if filter.is_empty() { String::new() } else { format!("filter: {filter}") };
    let inside = panel::draw(frame, area, paint, "Processes", &note, Focus::Here);
    if shown.is_empty() {
        let why = reading.why.get("processes");
        let sentence = match why {
            _ if !model.devices.filter.is_empty() && !reading.processes.is_empty() => {
                format!("No process is like that. {} drops the filter.", model.options.keys.said(Layer::Devices, Action::Back))
            }
            Some(reason) => format!("unknown: {reason}"),
            None if matches!(reading.health, Health::Lost { .. }) => "unknown since the device was lost".to_owned(),
            None if reading.memory.is_some() && reading.pci.is_some() => "No process holds memory of this device.".to_owned(),
            None => "Processes are listed for GPUs only.".to_owned(),
        };
        frame.render_widget(
            line::fit(line::text(paint, Role::Dim, sentence), usize::from(inside.width), paint.glyphs),
            Rect { height: inside.height.min(1), ..inside },
        );
        return;
    }
    let grid = Grid::fit(COLUMNS, inside.width);
    let below = grid.draw_heads(frame, area, inside, paint, ("Processes", &note));
    let cursor = model.devices.cursor(&shown).map(|at| (at, Focus::Here));
    list::draw(frame, below, paint, shown.len(), cursor, |at| grid.row(cells(model, shown[at], data), data));
}

fn cells(model: &Model, process: &ProcessReading, paint: &Paint) -> Vec<Line<'static>> {
    let role = match process.owner.as_str() {
        "engine" => Role::Ok,
        "foreign" => Role::Text,
        _ => Role::Dim,
    };
    let command = process.command.as_deref().or(process.name.as_deref()).unwrap_or("(in another namespace of processes)");
    let dim = |text: Option<&str>| line::text(paint, Role::Dim, text.unwrap_or(ABSENT));
    let since = process.started.map(|at| wording::span(model.now.since(at).as_secs_f64()));
    vec![
        line::text(paint, Role::Text, process.pid.to_string()),
        line::text(paint, Role::Text, process.user.as_deref().unwrap_or("?")),
        dim(process.container.as_deref()),
        line::text(paint, Role::Text, process.bytes.map_or_else(|| ABSENT.to_owned(), |b| b.to_string())),
        dim(since.as_deref()),
        line::text(paint, role, whose(&process.owner)),
        line::text(paint, Role::Text, command),
    ]
}

/// Returns why the process at hand can be told nothing, if so.
#[must_use]
pub fn reason_against(model: &Model) -> Option<String> {
    let Some(process) = model.devices.at_hand(&model.known) else { return Some("no process is selected".to_owned()) };
    match process.owner.as_str() {
        "engine" => Some(format!("process {} is our engine; cancel its job in the queue", process.pid)),
        _ if process.start_ticks.is_none() => {
            Some(format!("process {} cannot be seen from here, and so not be told anything", process.pid))
        }
        _ => None,
    }
}

/// Opens the list of signals for the process at hand.
pub fn open(model: &mut Model) {
    let process = model.devices.at_hand(&model.known).map(Identity::of);
    model.devices.signals = process.map(|process| Signals { process, cursor: 0 });
}

/// Asks whether the selected signal is to be sent.
pub fn confirm(model: &mut Model) {
    let Some(Signals { process: id, cursor }) = model.devices.signals.take() else { return };
    let Some(signal) = ProcessSignal::ALL.get(cursor).copied() else { return };
    let here = model.devices.reading(&model.known).into_iter().flat_map(|d| &d.processes).find(|p| Identity::of(p) == id);
    let (Some(process), Some(start_ticks)) = (here, id.start_ticks) else {
        model.toast(Role::Warn, format!("process {} is not there any more", id.pid));
        return;
    };
    let name = process.name.clone().unwrap_or_default();
    let user = process.user.as_deref().unwrap_or("somebody");
    let held = process.bytes.map(|b| format!(", and holds {b} here")).unwrap_or_default();
    model.confirm = Some(Confirm {
        question: format!("Send {} to process {} ({})?", signal.name(), id.pid, wording::clean(&name)),
        consequence: format!("It is {user}'s{held}. {}", meaning(signal)),
        command: Some(format!("kill -{} {}", signal.name(), id.pid)),
        list: process.command.iter().cloned().collect(),
        scroll: 0,
        then: Then::Signal(SignalAsk { pid: id.pid, start_ticks, signal }),
    });
}

fn meaning(signal: ProcessSignal) -> &'static str {
    match signal {
        ProcessSignal::Terminate => "It is asked to end, and may finish what it does.",
        ProcessSignal::Interrupt => "It is interrupted, as by ctrl-c.",
        ProcessSignal::Kill => "It is ended at once; what it did not save is lost.",
        ProcessSignal::Stop => "It stops where it is, and keeps its memory.",
        ProcessSignal::Continue => "It goes on where it was stopped.",
    }
}

/// Draws the open list of signals.
pub fn draw_signals(signals: Signals, paint: &Paint, frame: &mut Frame, area: Rect) {
    let title = format!("Signal for process {}", signals.process.pid);
    let height = ProcessSignal::ALL.len() as u16 + 2;
    let inside = popup::draw(frame, area, paint, &title, "", (66, height));
    list::draw(frame, inside, paint, ProcessSignal::ALL.len(), Some((signals.cursor, Focus::Here)), |at| {
        let signal = ProcessSignal::ALL[at];
        line::join([line::text(paint, Role::Text, format!(" {:<5}", signal.name())), line::text(paint, Role::Dim, meaning(signal))], 1)
    });
}
