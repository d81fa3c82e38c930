//! Draws finished pictures.
//!
//! ```text
//! ┌ Gallery ─ 38 pictures ───────────────────────┐┌ night-0039.png ─────┐
//! │ ▀▀▀▀▀▀▀▀▀▀  ▀▀▀▀▀▀▀▀▀▀  ▀▀▀▀▀▀▀▀▀▀            ││ file   /home/ana/…  │
//! │ ▀▀▀▀▀▀▀▀▀▀  ▀▀▀▀▀▀▀▀▀▀  ▀▀▀▀▀▀▀▀▀▀            ││ prompt a lighthouse │
//! │ night-0039  night-0038  night-0037            ││ seed   7            │
//! └──────────────────────────────────────────────┘└─────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::Entry;
use super::layout::Layout;
use crate::theme::Role;
use crate::tui::action::Action;
use crate::tui::gallery::{Frame as Shown, Graphics, Picture, Source};
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::pictures;
use crate::tui::screens::Screen;
use crate::tui::screens::detail;
use crate::tui::screens::detail::view::entry as fact;
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::{line, panel, picture};
use crate::tui::wording::{self, PENDING};

/// Columns of the facts beside a large picture, and rows of those below one.
const FACTS: (u16, u16) = (44, 6);

/// Draws the screen.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let data = paint.faded_if(matches!(model.freshness(), Freshness::Old(_)));
    let layout = Layout::of(area);
    let entries = model.finished.entries(&model.known);
    let cursor = model.finished.cursor(&entries);
    if let Some(at) = cursor.filter(|_| model.finished.large) {
        return draw_large(model, &entries[at], &format!("{} of {}", at + 1, entries.len()), (paint, &data), frame, area);
    }
    panel::draw(frame, layout.grid, paint, "Gallery", &note(model, &entries), Focus::Here);
    let Some(at) = cursor else {
        let sentence = line::fit(line::text(paint, Role::Dim, empty(model)), usize::from(layout.inside.width), paint.glyphs);
        frame.render_widget(sentence, Rect { height: layout.inside.height.min(1), ..layout.inside });
        if let Some(about) = layout.about {
            panel::draw(frame, about, paint, "Picture", "", Focus::Elsewhere);
        }
        return;
    };
    for (place, tile) in layout.tiles(entries.len(), at) {
        draw_tile(model, &entries[place], place == at, paint, frame, tile);
    }
    if let Some(about) = layout.about {
        let inside = panel::draw(frame, about, paint, &name(&entries[at]), "", Focus::Elsewhere);
        write(facts(model, &entries[at], &data, usize::from(inside.width)), frame, inside);
    }
}

fn note(model: &Model, entries: &[Entry<'_>]) -> String {
    if entries.is_empty() && model.finished.filter.is_empty() {
        return String::new();
    }
    let count = wording::count(entries.len() as u64, "picture");
    if model.finished.filter.is_empty() { count } else { format!("{count}, filter: {}", model.finished.filter.input.value().trim()) }
}

fn empty(model: &Model) -> String {
    let keys = &model.options.keys;
    match (model.freshness(), &model.link) {
        (Freshness::Unheard, Link::Down { .. }) => "Pictures are unknown until a daemon answers. Start one: perilune serve".to_owned(),
        (Freshness::Unheard, Link::Up | Link::Connecting) => PENDING.to_owned(),
        (Freshness::Live | Freshness::Old(_), _) if !model.finished.filter.is_empty() => {
            format!("No picture is like that. {} drops the filter.", keys.said(Layer::Gallery, Action::Back))
        }
        (Freshness::Live | Freshness::Old(_), _) => {
            format!("No picture is finished yet. {} opens the Run form.", keys.said(Layer::Gallery, Action::GoTo(Screen::Compose)))
        }
    }
}

fn name(entry: &Entry<'_>) -> String {
    entry.image().map_or_else(|| format!("job {}", entry.job), |image| wording::file_name(&image.path))
}

fn draw_tile(model: &Model, entry: &Entry<'_>, selected: bool, paint: &Paint, frame: &mut Frame, tile: Rect) {
    draw_picture(model, entry, paint, frame, Layout::picture(tile));
    let mut caption = line::fit(line::text(paint, Role::Text, name(entry)), usize::from(tile.width), paint.glyphs);
    if selected {
        caption = list::select(caption, tile.width, paint);
    }
    frame.render_widget(caption, Rect { y: tile.bottom().saturating_sub(1), height: 1, ..tile });
}

/// Draws the picture of an entry, or what there is instead.
fn draw_picture(model: &Model, entry: &Entry<'_>, paint: &Paint, frame: &mut Frame, place: Rect) {
    let Some(image) = entry.image() else { return picture::draw(frame, place, paint, &Shown::Coming) };
    let drawn = model.gallery.graphics != Graphics::Off && paint.pixels([0; 3], [0; 3]).is_some();
    let size = format!("{}x{}", image.width, image.height);
    if !drawn {
        return picture::draw(frame, place, paint, &Shown::None(&size));
    }
    if model.place != "local" {
        return picture::draw(frame, place, paint, &Shown::None(&format!("on {}", model.place)));
    }
    let shown = model.gallery.frame(&Source::File(image.path.clone()), (place.width, place.height));
    // The reason stands with the facts.
    let shown = if let Shown::None(_) = shown { Shown::None("not readable") } else { shown };
    // What Kitty and sixel draw cannot be covered by a box.
    let may_be_covered = !matches!(shown, Shown::Picture(Picture::Encoded(_)));
    if may_be_covered || pictures::shows_pictures(model) {
        picture::draw(frame, place, paint, &shown);
    }
}

/// Returns where a large picture stands, and its facts.
#[must_use]
pub fn large(layout: Layout) -> (Rect, Rect) {
    let inside = layout.inside;
    if let Some(about) = layout.about.filter(|about| about.x > layout.grid.x) {
        let facts = Rect { x: about.x + 1, width: about.width.saturating_sub(3), y: inside.y, height: inside.height };
        return (inside, facts);
    }
    // Facts go on where the small ones end.
    let whole = Rect { height: inside.height + layout.about.map_or(0, |a| a.height), ..inside };
    let rows = if whole.height > FACTS.1 * 2 { FACTS.1 } else { 0 };
    let facts = Rect { y: whole.bottom() - rows, height: rows, ..whole };
    (Rect { height: whole.height - rows, ..whole }, facts)
}

fn draw_large(model: &Model, entry: &Entry<'_>, which: &str, (paint, data): (&Paint, &Paint), frame: &mut Frame, area: Rect) {
    panel::draw(frame, area, paint, &name(entry), which, Focus::Here);
    let (place, about) = large(Layout::of(area));
    draw_picture(model, entry, paint, frame, place);
    let mut lines = facts(model, entry, data, usize::from(about.width));
    if let Some(job) = entry.view.filter(|_| about.height > FACTS.1) {
        lines.push(Line::default());
        lines.extend(detail::job::lines(model, job, data, usize::from(about.width)));
    }
    write(lines, frame, about);
}

/// Returns what matters most about a picture.
fn facts(model: &Model, entry: &Entry<'_>, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let Some((job, image)) = entry.view.zip(entry.image()) else { return vec![line::text(paint, Role::Dim, PENDING)] };
    let source = Source::File(image.path.clone());
    let mut lines = match model.gallery.frame(&source, (0, 0)) {
        Shown::None(reason) => fact(paint, "problem", Role::Crit, reason, columns),
        Shown::Picture(_) | Shown::Coming => Vec::new(),
    };
    lines.extend(fact(paint, "file", Role::Text, &image.path.display().to_string(), columns));
    let finished = job.finished.map(|at| format!(", {} ago", wording::span(model.now.since(at).as_secs_f64()))).unwrap_or_default();
    lines.extend(fact(
        paint,
        "picture",
        Role::Text,
        &format!("{}x{}, seed {}, job {}{finished}", image.width, image.height, image.seed, job.job),
        columns,
    ));
    lines.extend(fact(paint, "model", Role::Text, &job.spec.set.name, columns));
    lines.extend(fact(paint, "prompt", Role::Text, &job.spec.prompt, columns));
    if !job.spec.negative.is_empty() {
        lines.extend(fact(paint, "negative", Role::Text, &job.spec.negative, columns));
    }
    lines.extend(fact(paint, "settings", Role::Text, &detail::job::settings(&job.spec), columns));
    lines
}

fn write(lines: Vec<Line<'static>>, frame: &mut Frame, area: Rect) {
    for (y, text) in (area.y..area.bottom()).zip(lines) {
        frame.render_widget(text, Rect { y, height: 1, ..area });
    }
}
