//! Draws the tuner.
//!
//! ```text
//! ┌ Offload ─ night, 42 blocks, fp32, 3.2 GiB on cpu ─ of the Run form ──────────────────────┐
//! │ mode   ( ) virtual VRAM  (•) bytes  ( ) ratio  ( ) fraction                               │
//! │ wish   cpu,800MiB;disk,*_                                                                 │
//! │ ok     cpu keeps 0.8 GiB, disk takes 2.4 GiB                                              │
//! │ donors [x] disk                                                                           │
//! └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ┌ Blocks ─ one cell is one block: c cpu, d disk ───────────────────────────────────────────┐
//! └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ┌ Memory ─────────────────────────────────────┐┌ A step ───────────────────────────────────┐
//! └─────────────────────────────────────────────┘└───────────────────────────────────────────┘
//! ┌ What if ─────────────────────────────────────────────────────────────────────────────────┐
//! └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! In fewer than 140 columns all parts lie below one another. Where rows are few, parts have fewer, then rules instead of boxes;
//! after that the last give way.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::presets::{Open, Preset};
use super::state::{Pane, Subject, Typing};
use super::wish::Way;
use super::{Facts, blocks, donors, memory, seconds};
use crate::placement::Planned;
use crate::theme::Role;
use crate::tui::action::{Action, JobVerb, TuneVerb};
use crate::tui::layer::Layer;
use crate::tui::model::{Link, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::Screen;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::panel::{self, Lines};
use crate::tui::widgets::popup;
use crate::tui::wording::{self, PENDING};

/// Columns of the names of fields.
const NAMES: usize = 7;

/// From this width on, memory and seconds stand beside each other.
const BESIDE_FROM: u16 = 140;

/// Draws the tuner.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let Some(facts) = &model.offload.facts else {
        nothing(model, paint, frame, area);
        return;
    };
    let wide = area.width >= BESIDE_FROM;
    let seconds_rows = seconds::rows(facts);
    let pins = u16::from(!model.offload.pins.is_empty());
    let needed = |lines: Lines, spare: Spare| {
        let memory_rows = memory::rows(model, facts, lines);
        let (panels, between) = if wide { (4, memory_rows.max(seconds_rows)) } else { (5, memory_rows + seconds_rows) };
        spare.wish() + spare.map(pins) + between + seconds::least_what_if(model) + panels * lines.rows()
    };
    let boxes = Lines::of(area.width);
    let ways = [(boxes, Spare::Some), (boxes, Spare::None), (Lines::Rules, Spare::Some), (Lines::Rules, Spare::None)];
    let (lines, spare) = ways.into_iter().find(|(lines, spare)| needed(*lines, *spare) <= area.height).unwrap_or(ways[3]);
    let border = lines.rows();
    let mut left = area.height;
    // What is wanted, and the least that makes sense; the last give way first.
    let mut take = |wanted: u16, least: u16| {
        let most = left.saturating_sub(border);
        let rows = if most < least { 0 } else { wanted.min(most) };
        let height = if rows == 0 { 0 } else { rows + border };
        left -= height;
        height
    };
    let wish = take(spare.wish(), 3);
    let map = take(spare.map(pins), 2);
    let memory_rows = memory::rows(model, facts, lines);
    let mut y = area.y;
    let mut place = |height: u16| {
        let place = Rect { y, height, ..area };
        y += height;
        place
    };
    draw_wish(model, facts, paint, frame, (place(wish), lines));
    let inside = panel::draw_with(lines, frame, place(map), paint, ("Blocks", &blocks::note(model, facts)), focus(model, Pane::Blocks));
    put(frame, inside, paint, blocks::lines(model, facts, paint, inside));
    let (memory_area, seconds_area) = if wide {
        let both = place(take(memory_rows.max(seconds_rows), 2));
        let half = both.width / 2;
        (Rect { width: half, ..both }, Rect { x: both.x + half, width: both.width - half, ..both })
    } else {
        let (first, second) = (take(memory_rows, 2), take(seconds_rows, 1));
        (place(first), place(second))
    };
    memory::draw(model, facts, paint, frame, (memory_area, lines));
    let inside = panel::draw_with(lines, frame, seconds_area, paint, ("A step", &seconds::note(facts)), Focus::Elsewhere);
    put(frame, inside, paint, seconds::lines(model, facts, paint));
    let rest = left;
    if rest > border {
        let inside = panel::draw_with(lines, frame, place(rest), paint, ("What if", ""), Focus::Elsewhere);
        put(frame, inside, paint, seconds::what_if(model, facts, paint));
    }
    match (&model.offload.presets, &model.offload.typing) {
        (Some(open), _) => draw_presets(open, paint, frame, area),
        (None, Some(Typing::Block(input))) => ask(paint, frame, area, "Go to block", "its number", input),
        (None, Some(Typing::Profile(input))) => ask(paint, frame, area, "Save as profile", "its name", input),
        (None, Some(Typing::Floor(input))) => {
            let note = format!("of {}, such as 2GiB", facts.view.compute);
            ask(paint, frame, area, "Stays free", &note, input);
        }
        (None, Some(Typing::Expression(_)) | None) => {}
    }
}

/// Whether there are rows to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spare {
    Some,
    None,
}

impl Spare {
    /// The rows of what is wished; one for what to do about it.
    fn wish(self) -> u16 {
        if self == Self::Some { 5 } else { 4 }
    }

    /// The rows of the map; one for the blocks' numbers, one for pins.
    fn map(self, pins: u16) -> u16 {
        if self == Self::Some { 5 + pins } else { 4 }
    }
}

/// Returns whether keys act on a part.
fn focus(model: &Model, pane: Pane) -> Focus {
    Focus::when(model.offload.pane == pane)
}

/// Draws lines from the top of an area, as many as it has rows.
pub(super) fn put(frame: &mut Frame, area: Rect, paint: &Paint, lines: Vec<Line<'static>>) {
    for (y, text) in (area.y..area.bottom()).zip(lines) {
        frame.render_widget(line::fit(text, usize::from(area.width), paint.glyphs), Rect { y, height: 1, ..area });
    }
}

/// What stands where nothing is known.
fn nothing(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let inside = panel::draw(frame, area, paint, "Offload", "", Focus::Here);
    let mut lines = Vec::new();
    match (&model.offload.refusal, &model.link) {
        _ if model.offload.draft.model.trim().is_empty() => {
            let keys = &model.options.keys;
            let to = |screen| keys.said(Layer::Offload, Action::GoTo(screen));
            let (run, queue) = (to(Screen::Compose), to(Screen::Queue));
            let tune = keys.said(Layer::Jobs, Action::Job(JobVerb::Offload));
            let choose = format!("No model is chosen. {run} opens the Run form, where one can be.");
            lines.push(line::text(paint, Role::Dim, choose));
            lines.push(line::text(paint, Role::Dim, format!("{queue} shows jobs; {tune} there opens this screen for a job's model.")));
        }
        (Some(refusal), _) => {
            lines.push(line::text(
                paint,
                Role::Crit,
                format!("{} {}: {}", paint.mark(Role::Crit), model.offload.draft.model, refusal.message),
            ));
            lines.extend(refusal.hint.as_ref().map(|hint| line::text(paint, Role::Text, hint)));
            let key = |action| model.options.keys.said(Layer::Offload, action);
            let (run, again) = (key(Action::GoTo(Screen::Compose)), key(Action::Refresh));
            lines.push(line::text(paint, Role::Dim, format!("{run} opens the Run form; {again} asks again.")));
        }
        (None, Link::Down { .. }) => {
            lines.push(line::text(paint, Role::Dim, "The model is unknown until a daemon answers. Start one: perilune serve"));
        }
        (None, Link::Up | Link::Connecting) => lines.push(line::text(paint, Role::Dim, PENDING)),
    }
    put(frame, inside, paint, lines);
}

/// Draws what is wished.
fn draw_wish(model: &Model, facts: &Facts, paint: &Paint, frame: &mut Frame, (area, lines): (Rect, Lines)) {
    let state = &model.offload;
    let view = &facts.view;
    let of = match state.subject {
        Subject::Form => "Run form".to_owned(),
        Subject::Job(job) => format!("job {job}"),
    };
    let asked = if state.is_applied(&model.known) { "asked for" } else { "not asked for yet" };
    let size = view.network.bytes();
    let what = format!("{} {size} {} on {}", view.model, view.precision, view.compute);
    let note = format!("{of}, {asked}: {what}, {} blocks, {}", view.blocks.len(), view.size);
    let inside = panel::draw_with(lines, frame, area, paint, ("Offload", &note), focus(model, Pane::Expression));
    let columns = usize::from(inside.width);
    let room = columns.saturating_sub(NAMES + 1);
    let typing = matches!(state.typing, Some(Typing::Expression(_)));
    let shown = Shown::of(model, room);
    let mut lines = vec![ways(model, paint), labelled(paint, "wish", shown.line(model, paint, typing))];
    let says = says(model, facts, paint, &shown, room);
    lines.push(says.0);
    let row = labelled(paint, "donors", toggles(model, paint));
    // Where there is a row more, what to do about it stands in it.
    if inside.height > 4 {
        lines.push(says.1);
    }
    lines.push(row);
    put(frame, inside, paint, lines);
    if typing && inside.height > 1 {
        let x = inside.x + (NAMES + shown.cursor.min(room)) as u16;
        frame.set_cursor_position(Position { x: x.min(inside.right().saturating_sub(1)), y: inside.y + 1 });
    }
}

fn labelled(paint: &Paint, name: &str, value: Line<'static>) -> Line<'static> {
    line::join([line::text(paint, Role::Label, format!("{name:<width$}", width = NAMES - 1)), value], 1)
}

fn ways(model: &Model, paint: &Paint) -> Line<'static> {
    let now = model.offload.way();
    let one = |way: &Way| {
        let (mark, role) = if now == Some(*way) { (paint.glyphs.marked, Role::Text) } else { (" ", Role::Dim) };
        line::text(paint, role, format!("({mark}) {}", way.name()))
    };
    labelled(paint, "mode", line::join(Way::ALL.iter().map(one), 2))
}

fn toggles(model: &Model, paint: &Paint) -> Line<'static> {
    let at_hand = |at: usize| model.offload.pane == Pane::Donors && at == model.offload.donor;
    let one = |(at, donor): (usize, donors::Donor)| {
        let mark = match (donor.chosen, donor.problem) {
            (true, _) => "x",
            (false, None) => " ",
            (false, Some(_)) => "-",
        };
        let why = donor.problem.map(|p| format!(" {p}")).unwrap_or_default();
        let role = match (at_hand(at), donor.problem) {
            (true, _) => Role::Selection,
            (false, Some(_)) if donor.chosen => Role::Crit,
            (false, Some(_)) => Role::Dim,
            (false, None) => Role::Text,
        };
        line::text(paint, role, format!("[{mark}] {}{why}", donor.device))
    };
    let pins = &model.offload.pins;
    let pinned = (!pins.is_empty())
        .then(|| line::join([line::text(paint, Role::Label, "pins"), line::text(paint, Role::Text, pins.to_string())], 1));
    line::join(donors::donors(model).into_iter().enumerate().map(one).chain(pinned), 2)
}

/// The part of the text that is seen.
struct Shown {
    /// Its letters.
    letters: Vec<char>,
    /// How many stand before it.
    first: usize,
    /// Where the cursor is in it.
    cursor: usize,
}

impl Shown {
    fn of(model: &Model, room: usize) -> Self {
        let all: Vec<char> = wording::one_line(model.offload.input.value()).chars().collect();
        let trouble = model.offload.worked.as_ref().and_then(|w| w.outcome.as_ref().err()).and_then(|t| t.column);
        let typing = matches!(model.offload.typing, Some(Typing::Expression(_)));
        let at = if typing { model.offload.input.cursor() } else { trouble.unwrap_or(0) };
        let first = if all.len() < room { 0 } else { (at + 1).saturating_sub(room * 3 / 4).min(all.len().saturating_sub(room / 2)) };
        Self { letters: all.into_iter().skip(first).take(room).collect(), first, cursor: at.saturating_sub(first) }
    }

    /// The text; what is wrong in it stands out.
    fn line(&self, model: &Model, paint: &Paint, typing: bool) -> Line<'static> {
        let role = if typing { Role::Input } else { Role::Text };
        let text = |letters: &[char], role| piece(paint, role, letters.iter().collect::<String>());
        let trouble = model.offload.worked.as_ref().and_then(|w| w.outcome.as_ref().err());
        let Some(at) = trouble.and_then(|t| t.column).and_then(|c| c.checked_sub(self.first)).filter(|at| *at < self.letters.len()) else {
            let empty = self.letters.is_empty() && !typing;
            return if empty {
                let edit = model.options.keys.said(Layer::Offload, Action::Tune(TuneVerb::Edit));
                line::text(paint, Role::Dim, format!("none: nothing leaves; {edit} types an amount or a list"))
            } else {
                Line::from(text(&self.letters, role))
            };
        };
        let end = self.letters[at..].iter().position(|c| matches!(c, ',' | ';' | '#')).map_or(self.letters.len(), |n| at + n).max(at + 1);
        Line::from(vec![text(&self.letters[..at], role), text(&self.letters[at..end], Role::Crit), text(&self.letters[end..], role)])
    }
}

/// What the wish comes to in a line, and what to do about it in another.
fn says(model: &Model, facts: &Facts, paint: &Paint, shown: &Shown, room: usize) -> (Line<'static>, Line<'static>) {
    let Some(worked) = &model.offload.worked else { return (Line::default(), Line::default()) };
    let hint = |text: &str| labelled(paint, "", line::text(paint, Role::Dim, text));
    match (&worked.outcome, &worked.barrier) {
        (Err(trouble), _) => (labelled(paint, "", caret(paint, trouble.column, &trouble.message, shown, room)), hint(&trouble.hint)),
        (Ok(_), Some(refusal)) => {
            let message = format!("{} {}", paint.mark(Role::Crit), refusal.message);
            (labelled(paint, "not", line::text(paint, Role::Crit, message)), hint(refusal.hint.as_deref().unwrap_or_default()))
        }
        (Ok(planned), None) => {
            let canonical = worked.ask.as_ref().map(super::wish::text).unwrap_or_default();
            let typed = model.offload.input.value();
            let read = if canonical == typed || canonical.is_empty() { String::new() } else { format!("{canonical}: ") };
            let sums = sums(facts, planned);
            let first = line::join([line::text(paint, Role::Text, read), line::text(paint, Role::Ok, sums)], 0);
            let warning = worked.warnings.first().map(|w| format!("{} {w}", paint.mark(Role::Warn))).unwrap_or_default();
            (labelled(paint, "ok", first), labelled(paint, "", line::text(paint, Role::Warn, warning)))
        }
    }
}

/// A mark below the place that is wrong, and what is wrong beside it, on whichever side there is room.
fn caret(paint: &Paint, column: Option<usize>, message: &str, shown: &Shown, room: usize) -> Line<'static> {
    let message = wording::clean(message);
    let wide = wording::width(&message);
    match column.and_then(|c| c.checked_sub(shown.first)).filter(|at| *at <= room) {
        Some(at) if at + 2 + wide <= room => line::text(paint, Role::Crit, format!("{}^ {message}", " ".repeat(at))),
        Some(at) if wide < at => line::text(paint, Role::Crit, format!("{}{message} ^", " ".repeat(at - wide - 1))),
        Some(at) => line::text(paint, Role::Crit, format!("column {}: {message}", at + shown.first + 1)),
        None => line::text(paint, Role::Crit, format!("{} {message}", paint.mark(Role::Crit))),
    }
}

/// Who holds how much.
fn sums(facts: &Facts, planned: &Planned) -> String {
    let amounts = facts.amounts(planned);
    let compute = format!("{} keeps {}", amounts.compute, amounts.on(amounts.compute));
    let donors = amounts.donors().into_iter().map(|d| format!("{d} takes {}", amounts.lies_on(d)));
    let staging = (planned.staging > crate::units::Bytes::ZERO).then(|| format!("{} pass through", planned.staging));
    std::iter::once(compute).chain(donors).chain(staging).collect::<Vec<_>>().join(", ")
}

fn draw_presets(open: &Open, paint: &Paint, frame: &mut Frame, area: Rect) {
    let height = (open.rows.len() as u16).max(1).min(area.height.saturating_sub(2)) + 2;
    let inside = popup::draw(frame, area, paint, "Presets", "what leaves, and a step then", (76, height));
    let columns = usize::from(inside.width);
    list::draw(frame, inside, paint, open.rows.len(), Some((open.cursor, Focus::Here)), |at| {
        let Preset { name, wish, outcome } = &open.rows[at];
        let right = match outcome {
            Ok((away, step_s)) => line::text(paint, Role::Text, format!("{away}, {}", wording::pace(*step_s))),
            Err(reason) => line::fit(line::text(paint, Role::Warn, reason), columns / 2, paint.glyphs),
        };
        let left = vec![piece(paint, Role::Text, wording::clean(name)), Span::raw("  "), piece(paint, Role::Dim, &wish.text)];
        line::ends(Line::from(left), right, columns, paint.glyphs)
    });
}

fn ask(paint: &Paint, frame: &mut Frame, area: Rect, title: &str, note: &str, input: &tui_input::Input) {
    let inside = popup::draw(frame, area, paint, title, note, (48, 3));
    let typed = wording::tail(&wording::clean(input.value()), usize::from(inside.width).saturating_sub(1), paint.glyphs);
    let x = inside.x + wording::width(&typed) as u16;
    frame.render_widget(line::text(paint, Role::Input, typed), Rect { height: inside.height.min(1), ..inside });
    frame.set_cursor_position(Position { x: x.min(inside.right().saturating_sub(1)), y: inside.y });
}
