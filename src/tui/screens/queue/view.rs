//! Draws the queue.
//!
//! ```text
//! ┌ Queue ─ filter: dusk ──────────────────────────┐┌ Job 41 ──────────────┐
//! │   ID PRI SET    STATE PROGRESS   s/it  ETA  …  ││ ▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀ │  the picture, as it
//! │   41   5 night  run   ███· 14/28  1.5  0:21    ││ ▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀ │  is made or was made
//! │ • 42   5 night  wait  after 41        ~0:45    ││ prompt  a lighthouse │
//! │   40   0 night  FAILED out of memory           ││ size    512x512      │
//! └────────────────────────────────────────────────┘└──────────────────────┘
//! ```
//!
//! In fewer than 110 columns the right part lies below, and goes where there is no room for it either.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::rows;
use crate::theme::Role;
use crate::tui::gallery::{Frame as Shown, Graphics, Picture};
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::pictures;
use crate::tui::screens::detail;
use crate::tui::view::body;
use crate::tui::widgets::data_table::Grid;
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::{line, panel, picture};
use crate::tui::wording::PENDING;

/// From this width on, the selected job stands beside the list.
const BESIDE_FROM: u16 = 110;
/// From this height on, it stands below it.
const BELOW_FROM: u16 = 18;

struct Areas {
    list: Rect,
    about: Option<Rect>,
}

impl Areas {
    fn of(area: Rect) -> Self {
        if area.width >= BESIDE_FROM {
            let width = (area.width / 3).clamp(44, 64);
            let about = Rect { x: area.right() - width, width, ..area };
            return Self { list: Rect { width: area.width - width, ..area }, about: Some(about) };
        }
        if area.height >= BELOW_FROM {
            let height = 10 + (area.height - BELOW_FROM) / 3;
            let about = Rect { y: area.bottom() - height, height, ..area };
            return Self { list: Rect { height: area.height - height, ..area }, about: Some(about) };
        }
        Self { list: area, about: None }
    }
}

/// Returns where the picture stands inside of the right or lower part, and where the facts do.
fn split(inside: Rect) -> (Rect, Rect) {
    if inside.width >= 60 {
        let width = (inside.height * 2).min(inside.width / 3);
        let facts = Rect { x: inside.x + width + 2, width: inside.width - width - 2, ..inside };
        return (Rect { width, ..inside }, facts);
    }
    let height = (inside.width / 2).min(inside.height / 2);
    let facts = Rect { y: inside.y + height + 1, height: inside.height.saturating_sub(height + 1), ..inside };
    (Rect { height, ..inside }, facts)
}

/// Returns the columns and rows that a picture may fill on a screen of this size, if there is room for one.
#[must_use]
pub fn picture_cells(size: (u16, u16)) -> Option<(u16, u16)> {
    let screen = Rect { x: 0, y: 0, width: size.0, height: size.1 };
    let about = Areas::of(body(screen)).about?;
    let inside = if size.0 >= panel::BOXES_FROM {
        Rect { width: about.width.saturating_sub(4), height: about.height.saturating_sub(2), ..about }
    } else {
        Rect { height: about.height.saturating_sub(1), ..about }
    };
    let (picture, _) = split(inside);
    (picture.width >= 8 && picture.height >= 4).then_some((picture.width, picture.height))
}

/// Draws the queue.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let data = paint.faded_if(matches!(model.freshness(), Freshness::Old(_)));
    let areas = Areas::of(area);
    let note = rows::note(model);
    let inside = panel::draw(frame, areas.list, paint, "Queue", &note, Focus::Here);
    let shown = model.queue.shown(&model.known);
    let grid = Grid::fit(rows::FULL, inside.width);
    if shown.is_empty() {
        let sentence = match (model.freshness(), &model.link) {
            (Freshness::Unheard, Link::Down { .. }) => "The queue is unknown until a daemon answers. Start one: perilune serve".to_owned(),
            (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING.to_owned(),
            (Freshness::Live | Freshness::Old(_), _) => rows::empty(model),
        };
        for (y, row) in (inside.y..inside.bottom()).zip(detail::view::folded(&sentence, usize::from(inside.width))) {
            frame.render_widget(line::text(paint, Role::Dim, row), Rect { y, height: 1, ..inside });
        }
    } else {
        let below = grid.draw_heads(frame, areas.list, inside, paint, ("Queue", &note));
        let cursor = model.queue.cursor(&shown).map(|at| (at, Focus::Here));
        let estimates = rows::estimates(model);
        list::draw(frame, below, paint, shown.len(), cursor, |at| rows::full(model, shown[at], &estimates, &grid, &data));
    }
    if let Some(about) = areas.about {
        draw_about(model, paint, &data, frame, about);
    }
}

/// Draws the selected job: its picture and the facts that matter most.
fn draw_about(model: &Model, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let Some(job) = model.job_at_hand().and_then(|id| model.known.job(id)) else {
        panel::draw(frame, area, paint, "Job", "", Focus::Elsewhere);
        return;
    };
    let inside = panel::draw(frame, area, paint, &format!("Job {}", job.job), "", Focus::Elsewhere);
    let source = pictures::source(model, job).filter(|_| model.gallery.graphics != Graphics::Off && picture_cells(model.size).is_some());
    let facts = match source {
        Some(source) => {
            let (place, facts) = split(inside);
            let picture = model.gallery.frame(&source, (place.width, place.height));
            // What Kitty and sixel draw cannot be covered by a box.
            let may_be_covered = !matches!(picture, Shown::Picture(Picture::Encoded(_)));
            if may_be_covered || pictures::shows_pictures(model) {
                picture::draw(frame, place, paint, &picture);
            }
            facts
        }
        None => inside,
    };
    let lines = detail::job::facts(model, job, data, usize::from(facts.width));
    for (y, text) in (facts.y..facts.bottom()).zip(lines) {
        frame.render_widget(text, Rect { y, height: 1, ..facts });
    }
}
