//! Draws the alerts.
//!
//! ```text
//! ┌ Alerts ─ 2 need a hand, 1 a look ─────────────────────────────────────────┐
//! │ WHAT               VALUE            LIMIT   SINCE WHAT TO DO              │
//! │ !! cuda:0 memory   23.7/24.0 GiB      97%   4m10s move weights elsewhere… │
//! │ !! job 40 FAILED   out of memory on…    -   7m10s R tries again; tiling … │
//! │ !  cuda:0 temp     81 C              80 C     12s look at its fans and …  │
//! │                                                                           │
//! │ cuda:0 memory: 23.7/24.0 GiB                                              │
//! │ move weights elsewhere in the tuner, or unload sets                       │
//! └───────────────────────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::State;
use crate::theme::Role;
use crate::tui::alerts::Alert;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::screens::detail::view::folded;
use crate::tui::widgets::data_table::{Column, Grid, Side};
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::popup;
use crate::tui::wording;
use crate::units::Grade;

const COLUMNS: &[Column] = &[
    Column { title: "   WHAT", min: 20, grow: 1, side: Side::Left, keep: 9 },
    Column { title: "VALUE", min: 16, grow: 2, side: Side::Left, keep: 8 },
    Column { title: "LIMIT", min: 5, grow: 0, side: Side::Right, keep: 5 },
    Column { title: "SINCE", min: 6, grow: 0, side: Side::Right, keep: 6 },
    Column { title: "WHAT TO DO", min: 18, grow: 4, side: Side::Left, keep: 7 },
];
/// The widest that lines can be read well.
const WIDEST: u16 = 132;
/// Rows of the box that are no alerts: its border, the heads, a gap.
const AROUND: u16 = 4;

/// Draws the alerts.
pub fn draw(model: &Model, open: &State, paint: &Paint, frame: &mut Frame, area: Rect) {
    let all = model.alerts.all();
    let cursor = open.cursor(all);
    let columns = usize::from(area.width.min(WIDEST)).saturating_sub(4);
    let about = cursor.map(|at| told(&all[at], paint, columns)).unwrap_or_default();
    let height = if all.is_empty() { 3 } else { (all.len() + about.len()) as u16 + AROUND };
    let inside = popup::draw(frame, area, paint, "Alerts", &note(all), (WIDEST, height));
    if all.is_empty() {
        let sentence = "Nothing needs a look: every value lies within its thresholds.";
        frame.render_widget(line::text(paint, Role::Dim, sentence), Rect { height: inside.height.min(1), ..inside });
        return;
    }
    let grid = Grid::fit(COLUMNS, inside.width);
    frame.render_widget(grid.head(paint), Rect { height: inside.height.min(1), ..inside });
    let below = (about.len() as u16 + 1).min(inside.height.saturating_sub(2));
    let rows = Rect { y: inside.y + 1, height: inside.height.saturating_sub(below + 1), ..inside };
    list::draw(frame, rows, paint, all.len(), cursor.map(|at| (at, Focus::Here)), |at| grid.row(cells(model, &all[at], paint), paint));
    for (y, text) in (rows.bottom() + 1..inside.bottom()).zip(about) {
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}

fn note(all: &[Alert]) -> String {
    let hand = all.iter().filter(|alert| alert.grade == Grade::Crit).count();
    match (hand, all.len() - hand) {
        (0, 0) => String::new(),
        (0, 1) => "1 needs a look".to_owned(),
        (0, look) => format!("{look} need a look"),
        (1, 0) => "1 needs a hand".to_owned(),
        (hand, 0) => format!("{hand} need a hand"),
        (1, look) => format!("1 needs a hand, {look} a look"),
        (hand, look) => format!("{hand} need a hand, {look} a look"),
    }
}

fn cells(model: &Model, alert: &Alert, paint: &Paint) -> Vec<Line<'static>> {
    let role = Paint::role_of(alert.grade);
    let since = alert.since.map_or_else(|| wording::ABSENT.to_owned(), |since| wording::span(model.now.since(since).as_secs_f64()));
    vec![
        Line::from(vec![piece(paint, role, format!("{:<3}", paint.mark(role))), piece(paint, role, &alert.what)]),
        line::text(paint, role, &alert.value),
        line::text(paint, Role::Dim, alert.limit.as_deref().unwrap_or("-")),
        line::text(paint, Role::Text, since),
        line::text(paint, Role::Text, &alert.hint),
    ]
}

/// The selected alert, whole.
fn told(alert: &Alert, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let Alert { what, value, limit, since, hint, .. } = alert;
    let limit = limit.as_ref().map(|limit| format!(", threshold {limit}")).unwrap_or_default();
    let since = since.map(|since| format!(", since {} UTC", since.time_of_day())).unwrap_or_default();
    let first = format!("{what}: {value}{limit}{since}");
    let rows = |role, text: &str| folded(&wording::clean(text), columns).into_iter().map(move |row| line::text(paint, role, row));
    rows(Role::Text, &first).chain(rows(Role::Title, hint)).collect()
}
