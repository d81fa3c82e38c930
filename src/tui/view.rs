//! The whole screen: what stands above and below every screen, and what opens over them.
//!
//! ```text
//!  gpu-box-3  drv 580.95 cuda 13.0  daemon up 3d04h  queue 1 run 2 wait 1 held  ALERT 1      14:02:11 UTC   header
//! [1 Overview]  6 Queue  7 Run  8 Log                                     : command  ? help  q quit       tabs
//! …                                                                                                        screen
//!                                                                            ┆ job 45 is queued ┆          toasts
//!  c cancel  p pause queue  H hold  enter open  y copy                                                      footer
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::action::{Action, Motion};
use super::hits::Hit;
use super::layer::Layer;
use super::model::{Confirm, Freshness, Link, Model, Then};
use super::paint::Paint;
use super::screens::{Screen, alerts, cache, compose, detail, devices, gallery, help, log, offload, overview, palette, queue, sets};
use super::widgets::line::{self, piece};
use super::widgets::popup;
use super::{footer, hosts, wording};
use crate::theme::Role;

/// The least columns and rows.
pub const LEAST: (u16, u16) = (60, 16);
/// From this width on, the header spells things out.
const WIDE: u16 = 110;

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame) {
    let area = frame.area();
    let paint = &model.paint;
    paint.hits.clear();
    if let Some(ground) = paint.ground() {
        frame.buffer_mut().set_style(area, ground);
    }
    if is_too_small((area.width, area.height)) {
        let quit = model.options.keys.said(Layer::Everywhere, Action::Quit);
        let loses = matches!(&model.confirm, Some(Confirm { then: Then::Quit, .. }));
        let quits = if loses { format!("{quit} again quits and loses a draft") } else { format!("{quit} quits") };
        let notice = format!("needs {}x{}, is {}x{}; {quits}", LEAST.0, LEAST.1, area.width, area.height);
        frame.render_widget(line::text(paint, Role::Warn, notice), Rect { height: area.height.min(1), ..area });
        return;
    }
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    if let Some(hosts) = &model.hosts {
        let key = model.options.keys.key_of(&[Layer::Hosts], Action::NextHost);
        frame.render_widget(hosts::row(hosts, paint, key.as_deref(), area.width), row(0));
    }
    let area = below_hosts(model, area);
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    frame.render_widget(header(model, area.width), row(0));
    frame.render_widget(tabs(model, row(1)), row(1));
    let screen = body(area);
    match model.screen {
        Screen::Overview => overview::view::draw(model, paint, frame, screen),
        Screen::Devices => devices::view::draw(model, paint, frame, screen),
        Screen::Sets => sets::view::draw(model, paint, frame, screen),
        Screen::Cache => cache::view::draw(model, paint, frame, screen),
        Screen::Gallery => gallery::view::draw(model, paint, frame, screen),
        Screen::Offload => offload::view::draw(model, paint, frame, screen),
        Screen::Queue => queue::view::draw(model, paint, frame, screen),
        Screen::Compose => compose::view::draw(model, paint, frame, screen),
        Screen::Log => log::view::draw(model, paint, frame, screen),
    }
    if let Some(open) = &model.detail {
        detail::view::draw(model, open, paint, frame, screen);
    }
    if let Some(open) = &model.alarm {
        alerts::view::draw(model, open, paint, frame, screen);
    }
    if let Some(open) = &model.help {
        help::view::draw(model, open, paint, frame, screen);
    }
    if let Some(open) = &model.palette {
        palette::view::draw(open, paint, frame, screen);
    }
    if let Some(open) = &model.confirm {
        confirm(model, open, frame, screen);
    }
    toasts(model, frame, screen);
    footer::draw(model, frame, row(area.height - 1));
}

/// Returns whether so many columns and rows show nothing but that they are too few.
#[must_use]
pub fn is_too_small((columns, rows): (u16, u16)) -> bool {
    columns < LEAST.0 || rows < LEAST.1
}

/// Returns what the row of all boxes leaves of an area.
#[must_use]
pub fn below_hosts(model: &Model, area: Rect) -> Rect {
    let taken = u16::from(model.hosts.is_some()).min(area.height);
    Rect { y: area.y + taken, height: area.height - taken, ..area }
}

/// Returns the area of the screens.
#[must_use]
pub fn body(area: Rect) -> Rect {
    Rect { y: area.y + 2, height: area.height.saturating_sub(3), ..area }
}

fn header(model: &Model, width: u16) -> Line<'static> {
    let paint = &model.paint;
    let known = &model.known;
    let old = paint.faded_if(model.freshness() != Freshness::Live);
    let wide = width >= WIDE;
    // What has a lower number goes first where it is narrow.
    let mut parts: Vec<(u8, Line<'static>)> = Vec::new();
    let host = known.host.name.clone().filter(|_| model.place == "local").unwrap_or_else(|| model.place.clone());
    let title = if wide { format!("perilune {host}") } else { host };
    parts.push((8, line::text(paint, Role::Title, title)));
    if let Some(driver) = &known.host.driver {
        let cuda = known.host.cuda.as_ref().filter(|_| wide).map(|c| format!(" cuda {c}")).unwrap_or_default();
        parts.push((0, line::text(&old, Role::Dim, format!("drv {driver}{cuda}"))));
    }
    parts.push((9, Line::from(link(model, wide))));
    if known.heard_at.is_some() {
        let counts = &known.counts;
        let text = if wide {
            format!("queue {} run {} wait {} held", counts.running, counts.queued, counts.held)
        } else {
            format!("Q {}r/{}w/{}h", counts.running, counts.queued, counts.held)
        };
        parts.push((4, line::text(&old, Role::Text, text)));
        let (alerts, worst) = (model.alerts.all().len(), Paint::role_of(model.alerts.worst()));
        let replay = model.replay.map(|head| format!("REPLAY {}", head.told(model.now)));
        let frozen = model.frozen.as_ref().map(|frozen| format!("FROZEN since {}", frozen.since.time_of_day()));
        let flags = [
            (frozen.is_some(), 11, Role::Warn, frozen.unwrap_or_default()),
            (replay.is_some(), 10, Role::Warn, replay.unwrap_or_default()),
            (known.paused, 5, Role::Warn, "PAUSED".to_owned()),
            (alerts > 0, 7, worst, format!("ALERT {alerts}")),
            (known.devices.iter().any(|d| d.simulated), 6, Role::Warn, "SIMULATED".to_owned()),
        ];
        let raised = flags.into_iter().filter(|(raised, ..)| *raised);
        parts.extend(raised.map(|(_, keep, role, text)| (keep, line::text(&old, role, text))));
    }
    let clock = line::text(paint, Role::Text, format!("{} UTC ", model.clock().time_of_day()));
    let gap = if wide { 3 } else { 2 };
    let room = usize::from(width).saturating_sub(line::width(&clock) + 1);
    while parts.iter().map(|(_, part)| line::width(part) + gap).sum::<usize>() > room + gap && parts.len() > 1 {
        let least = parts.iter().map(|(keep, _)| *keep).min();
        parts.retain(|(keep, _)| Some(*keep) != least);
    }
    let left = line::join(parts.into_iter().map(|(_, part)| part), gap);
    line::ends(left, clock, usize::from(width), paint.glyphs)
}

fn link(model: &Model, wide: bool) -> Span<'static> {
    let paint = &model.paint;
    match &model.link {
        Link::Connecting => piece(paint, Role::Dim, "connecting ..."),
        Link::Down { since, retry_at, .. } => {
            let now = model.clock();
            let age = wording::span(now.since(*since).as_secs_f64());
            let retry = match retry_at.since(now).as_secs_f64() {
                s if s < 0.5 => "retrying".to_owned(),
                s => format!("retry in {}", wording::span(s)),
            };
            piece(paint, Role::Crit, format!("daemon DOWN {age}, {retry}"))
        }
        Link::Up => match (model.freshness(), model.known.daemon_since) {
            (Freshness::Old(age), _) => piece(paint, Role::Warn, format!("daemon silent {}", wording::span(age))),
            (Freshness::Live, Some(since)) if wide => {
                piece(paint, Role::Ok, format!("daemon up {}", wording::span(model.now.since(since).as_secs_f64())))
            }
            (Freshness::Live, _) => piece(paint, Role::Ok, "daemon ok"),
            (Freshness::Unheard, _) => piece(paint, Role::Dim, "daemon ..."),
        },
    }
}

fn tabs(model: &Model, area: Rect) -> Line<'static> {
    let (paint, width) = (&model.paint, area.width);
    let tabs = |here: &dyn Fn(Screen) -> String, there: &dyn Fn(Screen) -> String| {
        let tab = |screen: &Screen| {
            if *screen == model.screen {
                line::text(paint, Role::Tab, format!("[{}]", here(*screen)))
            } else {
                line::text(paint, Role::Text, format!(" {} ", there(*screen)))
            }
        };
        Screen::ALL.iter().map(tab).collect::<Vec<_>>()
    };
    let keyed = |s: Screen, name: &str| match number(model, s) {
        Some(key) => format!("{key} {name}"),
        None => name.to_owned(),
    };
    let full = |s: Screen| keyed(s, s.title());
    let short = |s: Screen| keyed(s, s.short());
    let least_name = |s: Screen| number(model, s).unwrap_or_else(|| s.short().to_owned());
    // The help key stays, whatever names have to become.
    let least = usize::from(width).saturating_sub(8);
    let fitting = [tabs(&full, &full), tabs(&short, &short)].into_iter().find(|tabs| tabs.iter().map(line::width).sum::<usize>() <= least);
    let names = fitting.unwrap_or_else(|| tabs(&full, &least_name));
    let mut x = area.x;
    for (screen, name) in Screen::ALL.iter().zip(&names) {
        let columns = line::width(name) as u16;
        paint.hits.note(Rect { x, width: columns, ..area }.intersection(area), Hit::Tab(*screen));
        x += columns;
    }
    let left = line::join(names, 0);
    let room = usize::from(width).saturating_sub(line::width(&left) + 2);
    let keyed = |(action, label)| Some(hint(paint, &model.options.keys.key_of(&[Layer::Everywhere, Layer::Always], action)?, label));
    let keys = [(Action::Palette, "command"), (Action::Help, "help"), (Action::Quit, "quit")];
    let mut right = line::join(keys.into_iter().filter_map(keyed), 2);
    if line::width(&right) > room {
        right = keyed((Action::Help, "help")).unwrap_or_default();
    }
    line::ends(left, line::join([right, Line::raw(" ")], 0), usize::from(width), paint.glyphs)
}

/// The key of a screen.
fn number(model: &Model, screen: Screen) -> Option<String> {
    model.options.keys.key_of(&[Layer::Everywhere], Action::GoTo(screen))
}

pub(super) fn hint(paint: &Paint, key: &str, label: &str) -> Line<'static> {
    Line::from(vec![piece(paint, Role::Key, key), Span::raw(" "), piece(paint, Role::Text, label)])
}

/// ```text
/// ┌ Cancel job 41? ─────────────────────────────┐
/// │ Job 41 is at step 14 of 28; …               │
/// │ perilune queue cancel 41                    │
/// │ y yes   n no   Y copy command               │
/// └─────────────────────────────────────────────┘
/// ```
fn confirm(model: &Model, open: &Confirm, frame: &mut Frame, area: Rect) {
    let paint = &model.paint;
    let key = |action| model.options.keys.key_of(&[Layer::Confirm], action).unwrap_or_default();
    let mut lines = vec![line::text(paint, Role::Text, &open.consequence)];
    // Question, consequence, command and answers stay; the list gives way.
    let room = usize::from(area.height.saturating_sub(7)).max(1);
    let first = open.scroll.min(open.list.len().saturating_sub(room));
    let rest = open.list.len().saturating_sub(first + room);
    lines.extend(open.list.iter().skip(first).take(room).map(|row| line::text(paint, Role::Text, format!("  {row}"))));
    lines.extend(
        (rest > 0).then(|| line::text(paint, Role::Dim, format!("  {rest} more below, {} scrolls", key(Action::Move(Motion::Down))))),
    );
    lines.extend(open.command.as_ref().map(|c| line::text(paint, Role::Dim, c)));
    let widest = lines.iter().map(line::width).max().unwrap_or(0).max(wording::width(&open.question) + 2);
    let size = ((widest as u16).saturating_add(4).max(40), lines.len() as u16 + 3);
    let inside = popup::draw(frame, area, paint, &open.question, "", size);
    lines.push(line::join([hint(paint, &key(Action::Accept), "yes"), hint(paint, &key(Action::Decline), "no")], 3));
    for (y, text) in (inside.y..inside.bottom()).zip(lines) {
        frame.render_widget(line::fit(text, usize::from(inside.width), paint.glyphs), Rect { y, height: 1, ..inside });
    }
}

fn toasts(model: &Model, frame: &mut Frame, area: Rect) {
    let paint = &model.paint;
    for (place, toast) in model.toasts.iter().rev().enumerate().take(usize::from(area.height)) {
        let mark = paint.mark(toast.role);
        let text = if mark.is_empty() { format!(" {} ", toast.text) } else { format!(" {mark} {} ", toast.text) };
        let text = wording::cut(&wording::clean(&text), usize::from(area.width), paint.glyphs);
        let width = wording::width(&text) as u16;
        let place = Rect { x: area.right() - width, y: area.bottom() - 1 - place as u16, width, height: 1 };
        popup::clear(frame, place, paint);
        frame.render_widget(Line::styled(text, paint.style(toast.role).patch(paint.style(Role::Selection))), place);
    }
}
