//! Draws the log.
//!
//! ```text
//! ┌ Log ─ info and above, following ─────────────────────────┐
//! │ 14:02:10 info  cuda:0  step 14 of 28, 1.5 s               │
//! │ 14:02:11 warn  daemon  job 42 waits: cuda:3 does not …    │
//! └──────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::Level;
use super::fields::{Beside, FIELDS};
use crate::theme::Role;
use crate::tui::action::{Action, LogVerb};
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::searching;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::panel;
use crate::tui::wording::{self, PENDING};
use crate::wire::LogLine;

/// Draws the log.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let state = &model.log;
    let shown = state.shown(&model.known.log, model.known.log_dropped);
    let inside = panel::draw(frame, area, paint, "Log", &note(model, &shown), Focus::Here);
    if shown.is_empty() {
        let sentence = match (model.freshness(), &model.link) {
            (Freshness::Unheard, Link::Down { .. }) => "The log is unknown until a daemon answers. Start one: perilune serve".to_owned(),
            (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING.to_owned(),
            (Freshness::Live | Freshness::Old(_), _) if model.known.log.is_empty() => "Nothing was logged yet.".to_owned(),
            (Freshness::Live | Freshness::Old(_), _) => {
                format!("No line is so important. {} shows more.", model.options.keys.said(Layer::Log, Action::Log(LogVerb::MoreLevels)))
            }
        };
        frame.render_widget(line::text(paint, Role::Dim, sentence), Rect { height: inside.height.min(1), ..inside });
        return;
    }
    // While the end is followed no line stands out.
    let focus = Focus::when(state.at.is_some());
    let cursor = state.cursor(&shown).map(|at| (at, focus));
    let found = finder(model);
    list::draw(frame, inside, paint, shown.len(), cursor, |at| row(shown[at].1, found(shown[at].1), usize::from(inside.width), paint));
}

/// Says which lines are searched for.
fn finder(model: &Model) -> impl Fn(&LogLine) -> bool {
    let (filter, now) = (model.log.search.filter(FIELDS), model.known.now);
    let looks = !model.log.search.is_empty() && searching::problem(model).is_none();
    move |line| looks && filter.matches(&Beside { line, now })
}

fn note(model: &Model, shown: &[(u64, &LogLine)]) -> String {
    let state = &model.log;
    let key = || model.options.keys.said(Layer::Log, Action::Log(LogVerb::Follow));
    let following = if state.at.is_none() { "following".to_owned() } else { format!("not following, {} follows", key()) };
    let found = if state.search.is_empty() {
        String::new()
    } else {
        let found = finder(model);
        let count = shown.iter().filter(|(_, line)| found(line)).count();
        format!(", {} of `{}`", wording::count(count as u64, "line"), state.search.input.value().trim())
    };
    let level = if state.level == Level::Trace { "every line".to_owned() } else { format!("{} and above", state.level.name()) };
    format!("{level}, {following}{found}")
}

fn row(line: &LogLine, found: bool, columns: usize, paint: &Paint) -> Line<'static> {
    let level = Level::of(&line.level);
    let role = match level {
        Level::Trace | Level::Debug => Role::Dim,
        Level::Info => Role::Text,
        Level::Warn => Role::Warn,
        Level::Error => Role::Crit,
    };
    let mut spans = vec![
        piece(paint, Role::Dim, line.time.time_of_day()),
        Span::raw(" "),
        piece(paint, role, format!("{:<5}", level.name())),
        Span::raw(" "),
        piece(paint, Role::Label, format!("{:<7}", line.source)),
        Span::raw(" "),
    ];
    let text = wording::clean(&line.text);
    let body = if matches!(level, Level::Trace | Level::Debug) { Role::Dim } else { Role::Text };
    spans.push(piece(paint, if found { Role::Found } else { body }, text));
    line::fit(Line::from(spans), columns, paint.glyphs)
}
