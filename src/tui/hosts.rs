//! The row that says how every box is, where the dashboard shows several.
//!
//! ```text
//!  [ana@north 23.7/96 GiB 2r 1w]   bo@south DOWN for 12s, retry in 3s   lab 0.4/24 GiB idle          > next box
//! ```

use ratatui::text::Line;

use super::model::{Freshness, Link, Model};
use super::paint::Paint;
use super::widgets::line::{self, piece};
use super::wording;
use crate::devices::{DeviceKind, Health};
use crate::theme::Role;
use crate::units::Bytes;
use crate::wire::control::Counts;

/// How a box is.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which.
    pub place: String,
    /// What is wrong with its link, if anything is.
    pub trouble: Option<String>,
    /// How old what is known is, where it is old.
    pub age_s: Option<f64>,
    /// Memory of its GPUs in use, and all of it; of the host, where it has no GPU.
    pub memory: Option<(Bytes, Bytes)>,
    /// Its jobs.
    pub counts: Counts,
    /// Devices that do not answer.
    pub lost: usize,
}

/// How every box is.
#[derive(Debug, Clone, PartialEq)]
pub struct Hosts {
    /// One for each, in the order in which they were named.
    pub all: Vec<Summary>,
    /// The one that is shown.
    pub at: usize,
}

/// Returns how a box is.
#[must_use]
pub fn summary(model: &Model) -> Summary {
    let known = &model.known;
    let trouble = match &model.link {
        Link::Up => None,
        Link::Connecting => Some("connecting".to_owned()),
        Link::Down { since, retry_at, .. } => {
            let span = |later: crate::units::Timestamp, earlier| wording::span(later.since(earlier).as_secs_f64());
            Some(format!("DOWN for {}, retry in {}", span(model.now, *since), span(*retry_at, model.now)))
        }
    };
    let sum = |wanted: fn(DeviceKind) -> bool| {
        let memories = known.devices.iter().filter(|d| wanted(d.kind)).filter_map(|d| d.memory);
        memories.fold(None, |sum: Option<(Bytes, Bytes)>, m| {
            let (used, total) = sum.unwrap_or_default();
            Some((used + m.used, total + m.total))
        })
    };
    let gpus = sum(|kind| matches!(kind, DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim));
    Summary {
        place: model.place.clone(),
        trouble,
        age_s: if let Freshness::Old(age) = model.freshness() { Some(age) } else { None },
        memory: gpus.or_else(|| sum(|kind| kind == DeviceKind::Cpu)),
        counts: known.counts,
        lost: known.devices.iter().filter(|d| matches!(d.health, Health::Lost { .. })).count(),
    }
}

/// Returns the row. `key` shows the next box.
#[must_use]
pub fn row(hosts: &Hosts, paint: &Paint, key: Option<&str>, width: u16) -> Line<'static> {
    let parts = hosts.all.iter().enumerate().map(|(at, summary)| part(summary, at == hosts.at, paint));
    let key = key.map(|key| Line::from(vec![piece(paint, Role::Key, key), piece(paint, Role::Text, " next box ")]));
    line::ends(line::join([vec![Line::raw("")], parts.collect()].concat(), 1), key.unwrap_or_default(), usize::from(width), paint.glyphs)
}

fn part(summary: &Summary, shown: bool, paint: &Paint) -> Line<'static> {
    let faded = paint.faded_if(summary.age_s.is_some());
    let place = wording::clean(&summary.place);
    // Brackets, too: which box is shown must not be in a colour alone.
    let name = if shown { piece(paint, Role::Tab, format!("[{place}]")) } else { piece(paint, Role::Title, format!(" {place} ")) };
    let mut pieces = vec![name];
    if let Some(trouble) = &summary.trouble {
        pieces.push(piece(paint, Role::Warn, format!(" {} {trouble}", paint.mark(Role::Warn))));
    }
    if let Some((used, total)) = summary.memory {
        pieces.push(piece(&faded, Role::Text, format!(" {}/{} GiB", wording::gib(used), wording::gib(total))));
        let Counts { running, queued, .. } = summary.counts;
        let jobs = if running + queued == 0 { " idle".to_owned() } else { format!(" {running}r/{queued}w") };
        pieces.push(piece(&faded, Role::Text, jobs));
    }
    if summary.lost > 0 {
        pieces.push(piece(paint, Role::Crit, format!(" {} {} LOST", paint.mark(Role::Crit), summary.lost)));
    }
    Line::from(pieces)
}
