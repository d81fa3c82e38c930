//! Draws the cache.
//!
//! ```text
//! ┌ Cache ─ 14 files, 61.2 GiB, 31 uses ────────────────────┐
//! │   SOURCE    TO         SIZE    AGE  HITS STATE          │
//! │   dream     nf4        ███··· 62%, 1.1 GiB/s, 0:09 left │  what is being converted
//! │ • flux-dev  fp8        11.9 GiB 2d    22 valid          │
//! │   sdxl      fp16        6.9 GiB 9d     0 ! stale        │
//! └─────────────────────────────────────────────────────────┘
//! ┌ flux-dev_fp8.safetensors ───────────────────────────────┐
//! │ source  /models/checkpoints/flux-dev.safetensors        │  the file at hand
//! └─────────────────────────────────────────────────────────┘
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Menu, Row, menu, rows};
use crate::theme::Role;
use crate::tui::action::{Action, CacheVerb};
use crate::tui::layer::Layer;
use crate::tui::model::{Freshness, Link, Model};
use crate::tui::paint::Paint;
use crate::tui::screens::compose::view::draw_choices;
use crate::tui::screens::detail::view::entry;
use crate::tui::widgets::data_table::Grid;
use crate::tui::widgets::line::{self, piece};
use crate::tui::widgets::list::{self, Focus};
use crate::tui::widgets::{panel, popup};
use crate::tui::wording::{self, PENDING};
use crate::wire::{CachedState, CachedView, ConversionView};

/// From this height on, the file at hand is described below the list.
const BELOW_FROM: u16 = 16;
/// Rows of that description.
const ABOUT: u16 = 6;

/// Draws the cache.
pub fn draw(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) {
    let data = paint.faded_if(matches!(model.freshness(), Freshness::Old(_)));
    let shown = model.cache.shown(&model.known);
    let about =
        if area.height >= BELOW_FROM && !shown.is_empty() { ABOUT + panel::overhead(area.width).saturating_sub(1).max(1) } else { 0 };
    let upper = Rect { height: area.height - about, ..area };
    let note = rows::note(model);
    let inside = panel::draw(frame, upper, paint, "Cache", &note, Focus::Here);
    let inside = trouble(model, paint, frame, inside);
    let cursor = model.cache.cursor(&shown);
    if shown.is_empty() {
        let sentence = line::text(paint, Role::Dim, empty(model));
        frame.render_widget(line::fit(sentence, usize::from(inside.width), paint.glyphs), Rect { height: inside.height.min(1), ..inside });
    } else {
        let grid = Grid::fit(rows::COLUMNS, inside.width);
        let below = grid.draw_heads(frame, upper, inside, paint, ("Cache", &note));
        list::draw(frame, below, paint, shown.len(), cursor.map(|at| (at, Focus::Here)), |at| rows::row(model, &shown[at], &grid, &data));
    }
    if about > 0 {
        let lower = Rect { y: upper.bottom(), height: about, ..area };
        describe(model, cursor.map(|at| shown[at]), paint, &data, frame, lower);
    }
    match &model.cache.menu {
        Some(Menu::Rules(rules)) => draw_rules(model, rules, paint, frame, area),
        Some(Menu::Convert(convert)) => {
            let title = convert.source.as_ref().map_or_else(|| "Convert which".to_owned(), |s| format!("Convert {} to", wording::clean(s)));
            draw_choices(&convert.pick, &convert.choices(&model.known), &title, "nothing is called so", paint, frame, area);
        }
        None => {}
    }
}

/// Says what was refused last, above the rows.
fn trouble(model: &Model, paint: &Paint, frame: &mut Frame, area: Rect) -> Rect {
    let Some(trouble) = model.cache.trouble.as_ref().filter(|_| area.height > 2) else { return area };
    let text = line::text(paint, Role::Crit, format!("{} {trouble}", paint.mark(Role::Crit)));
    frame.render_widget(line::fit(text, usize::from(area.width), paint.glyphs), Rect { height: 1, ..area });
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

fn empty(model: &Model) -> String {
    let keys = &model.options.keys;
    match (model.freshness(), &model.link, &model.known.cached) {
        (_, Link::Down { .. }, None) => "The cache is unknown until a daemon answers. Start one: perilune serve".to_owned(),
        (Freshness::Unheard, ..) | (_, _, None) => PENDING.to_owned(),
        (_, _, Some(files)) if files.is_empty() => {
            format!("Nothing was converted yet. {} converts a model.", keys.said(Layer::Cache, Action::Cache(CacheVerb::Convert)))
        }
        (_, _, Some(_)) => format!("No conversion is like that. {} drops the filter.", keys.said(Layer::Cache, Action::Back)),
    }
}

/// Draws what is known of the row at hand.
fn describe(model: &Model, row: Option<Row<'_>>, paint: &Paint, data: &Paint, frame: &mut Frame, area: Rect) {
    let title = match row {
        Some(Row::File(file)) => wording::file_name(&file.path),
        Some(Row::Conversion(conversion)) => format!("Conversion {}", conversion.id),
        None => "File".to_owned(),
    };
    let inside = panel::draw(frame, area, paint, &title, "", Focus::Elsewhere);
    let columns = usize::from(inside.width);
    let lines = match row {
        Some(Row::File(file)) => facts(model, file, data, columns),
        Some(Row::Conversion(conversion)) => facts_of_conversion(model, conversion, data, columns),
        None => Vec::new(),
    };
    for (y, text) in (inside.y..inside.bottom()).zip(lines) {
        frame.render_widget(text, Rect { y, height: 1, ..inside });
    }
}

/// Returns what is known of a file.
#[must_use]
pub fn facts(model: &Model, file: &CachedView, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let key = |verb| model.options.keys.said(Layer::Cache, Action::Cache(verb));
    let mut lines = Vec::new();
    let mut add = |name: &str, role: Role, text: String| lines.extend(entry(paint, name, role, &text, columns));
    let found = model.cache.read(&file.path).and_then(|v| v.problem.clone());
    if let Some(wrong) = found.or_else(|| file.damage.clone()) {
        add("damaged", Role::Crit, wrong);
    }
    match file.state {
        CachedState::Stale => {
            add("stale", Role::Warn, format!("its source was changed since; {} converts it again", key(CacheVerb::Convert)));
        }
        CachedState::Orphaned => add("source gone", Role::Warn, "it can be used and not be made again".to_owned()),
        CachedState::Unfinished => add("unfinished", Role::Dim, "the next conversion of its source goes on from there".to_owned()),
        CachedState::Valid | CachedState::Damaged => {}
    }
    add("file", Role::Text, file.path.display().to_string());
    if let Some(source) = &file.source {
        add("source", Role::Text, source.display().to_string());
    }
    if let (Some(from), Some(to)) = (&file.from, &file.to) {
        let error = file.rel_l2_mean.map(|e| format!(", relative error {e:.2e}")).unwrap_or_default();
        let seconds = file.seconds.map(|s| format!(", made in {}", wording::measured(s))).unwrap_or_default();
        add("conversion", Role::Text, format!("{from} {} {to}, {}{error}{seconds}", paint.glyphs.arrow, file.bytes));
    }
    if let Some(made) = file.made {
        let used = file.used.map(|used| format!(", last used {used}")).unwrap_or_default();
        add("made", Role::Dim, format!("{made}{used}"));
    }
    if file.kept {
        add("kept", Role::Text, format!("no rule removes it, and no other takes its room; {} lets it go again", key(CacheVerb::Keep)));
    }
    if file.in_use {
        add("in use", Role::Text, "a program has it open; it is never removed meanwhile".to_owned());
    }
    lines
}

fn facts_of_conversion(model: &Model, conversion: &ConversionView, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = entry(paint, "source", Role::Text, &conversion.source.display().to_string(), columns);
    lines.extend(entry(paint, "to", Role::Text, &conversion.to.to_string(), columns));
    lines.extend(entry(
        paint,
        "done",
        Role::Text,
        &format!("{} of {}, {}", conversion.done, conversion.bytes, rows::progress(model, conversion)),
        columns,
    ));
    let who = match conversion.jobs.len() {
        0 => "a client asked for it; when it leaves, what is done is kept for the next try".to_owned(),
        n => format!("{} for it", wording::count(n as u64, "job") + if n == 1 { " waits" } else { " wait" }),
    };
    lines.extend(entry(paint, "for", Role::Dim, &who, columns));
    lines
}

fn draw_rules(model: &Model, rules: &menu::Rules, paint: &Paint, frame: &mut Frame, area: Rect) {
    let height = menu::Rules::COUNT as u16 + 3;
    let inside = popup::draw(frame, area, paint, "What may go", "", (74, height));
    let rows = Rect { height: inside.height.saturating_sub(1), ..inside };
    list::draw(frame, rows, paint, menu::Rules::COUNT, Some((rules.cursor, Focus::Here)), |at| {
        let (before, amount, behind) = rules.words(at);
        let mut spans = vec![Span::raw(" "), piece(paint, Role::Text, before)];
        if !amount.is_empty() {
            spans.extend([piece(paint, Role::Key, "< "), piece(paint, Role::Input, amount), piece(paint, Role::Key, " >")]);
        }
        spans.push(piece(paint, Role::Text, behind));
        Line::from(spans)
    });
    let show = model.options.keys.said(Layer::Rules, Action::Open);
    let hint = line::text(paint, Role::Dim, format!(" What is in use or kept stays, whatever the rule. {show} shows the files first."));
    frame.render_widget(line::fit(hint, usize::from(inside.width), paint.glyphs), Rect { y: rows.bottom(), height: 1, ..inside });
}
