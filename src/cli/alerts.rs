//! What needs a look or a hand, for whoever asks once: the dashboard's alerts as a table and as JSON.

use serde::Serialize;

use super::output::{head, table};
use crate::tui::alerts::{About, Alert};
use crate::tui::wording;
use crate::units::{DeviceId, Grade, JobId, Timestamp};
use crate::workflow::SetId;

/// Letters of what happened that a table shows; JSON has them all.
const VALUE: usize = 60;

/// One alert, as programs read it.
#[derive(Debug, Serialize)]
pub struct AlertView<'a> {
    about: &'static str,
    grade: &'static str,
    device: Option<DeviceId>,
    disk: Option<&'a str>,
    set: Option<&'a SetId>,
    job: Option<JobId>,
    what: &'a str,
    value: &'a str,
    limit: Option<&'a str>,
    since: Option<Timestamp>,
    hint: &'a str,
}

impl<'a> From<&'a Alert> for AlertView<'a> {
    fn from(alert: &'a Alert) -> Self {
        let Alert { about, grade, what, value, limit, since, hint } = alert;
        Self {
            about: name(about),
            grade: match grade {
                Grade::Fine => "fine",
                Grade::Warn => "warn",
                Grade::Crit => "crit",
            },
            device: device(about),
            disk: if let About::Disk(mount) = about { Some(mount) } else { None },
            set: if let About::Set(set, _) = about { Some(set) } else { None },
            job: about.job(),
            what,
            value,
            limit: limit.as_deref(),
            since: *since,
            hint,
        }
    }
}

fn name(about: &About) -> &'static str {
    match about {
        About::Driver => "driver",
        About::Lost(_) => "lost",
        About::Unreadable(_) => "unreadable",
        About::Temperature(_) => "temperature",
        About::Memory(_) => "memory",
        About::Floor(_) => "floor",
        About::Load(_) => "load",
        About::Disk(_) => "disk",
        About::NoRoom => "no_room",
        About::Engine(_) => "engine",
        About::Set(..) => "set",
        About::Failed(_) => "failed",
        About::NotKept(_) => "not_kept",
    }
}

fn device(about: &About) -> Option<DeviceId> {
    match about {
        About::Lost(id)
        | About::Unreadable(id)
        | About::Temperature(id)
        | About::Memory(id)
        | About::Floor(id)
        | About::Load(id)
        | About::Engine(id)
        | About::Set(_, id) => Some(*id),
        About::Disk(_) => Some(DeviceId::Disk),
        About::Driver | About::NoRoom | About::Failed(_) | About::NotKept(_) => None,
    }
}

/// Returns alerts as a table, with the dashboard's marks: `!` needs a look, `!!` a hand.
#[must_use]
pub fn alert_table(alerts: &[Alert], now: Timestamp) -> String {
    let dash = || "-".to_owned();
    let rows = alerts.iter().map(|alert| {
        let mark = match alert.grade {
            Grade::Fine => "",
            Grade::Warn => "!",
            Grade::Crit => "!!",
        };
        let since = alert.since.map_or_else(dash, |since| wording::span(now.since(since).as_secs_f64()));
        let limit = alert.limit.clone().unwrap_or_else(dash);
        vec![mark.to_owned(), alert.what.clone(), head(&alert.value, VALUE), limit, since, alert.hint.clone()]
    });
    table(&["", "alert", "value", "limit", "since", "what to do"], rows)
}
