//! Alerts in the line mode: one line when something needs a look or a hand, one when it does not any more.
//!
//! ```text
//! ALERT cuda:0 temp: 81 C, threshold 80 C; look at its fans and the air around it; nvidia-smi -pl lowers its power
//! ALERT over: cuda:0 temp
//! ```
//!
//! What the line mode tells by itself, devices that are lost, engines that died and jobs that failed, is not told twice.

use crate::tui::alerts::{About, Alert, Alerts};
use crate::tui::known::Known;
use crate::units::{Grade, JobId, Thresholds, Timestamp};
use crate::wire::Change;

/// An alert is over when it has been gone for so long: values sway about their thresholds.
const OVER_MS: i64 = 60_000;

/// An alert that was told.
#[derive(Debug)]
struct Told {
    about: About,
    what: String,
    worst: Grade,
    gone_since: Option<Timestamp>,
}

/// What needs a look or a hand, and what of it was told.
#[derive(Debug)]
pub struct AlertLines {
    thresholds: Thresholds,
    known: Known,
    alerts: Alerts,
    told: Vec<Told>,
}

impl AlertLines {
    /// Returns those that have told nothing yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, known: Known::default(), alerts: Alerts::default(), told: Vec::new() }
    }

    /// Never tells of a job that was over before anybody listened.
    pub fn leave_out(&mut self, job: JobId) {
        self.alerts.hide(job);
    }

    /// Takes in a change and adds the lines that come of it.
    pub fn hear(&mut self, change: Change, now: Timestamp, lines: &mut Vec<String>) {
        match change {
            Change::Snapshot(_) | Change::Job(_) | Change::Gone(_) | Change::Devices { .. } | Change::Sets(_) | Change::Engines(_) => {
                self.known.now = now;
                self.known.apply(change, now);
            }
            // No alert is about these.
            Change::Progress { .. }
            | Change::Queue { .. }
            | Change::Conversions(_)
            | Change::Notice(_)
            | Change::Log(_)
            | Change::Preview(_) => return,
        }
        self.alerts.look(&self.known, self.thresholds, now);
        for alert in self.alerts.all().iter().filter(|alert| !is_told_anyway(&alert.about)) {
            let Some(told) = self.told.iter_mut().find(|told| told.about == alert.about) else {
                lines.push(line(alert));
                let Alert { about, what, grade, .. } = alert.clone();
                self.told.push(Told { about, what, worst: grade, gone_since: None });
                continue;
            };
            told.gone_since = None;
            if alert.grade > told.worst {
                told.worst = alert.grade;
                lines.push(line(alert));
            }
        }
        let alerts = &self.alerts;
        self.told.retain_mut(|told| {
            if alerts.all().iter().any(|alert| alert.about == told.about) {
                return true;
            }
            let is_over = now.0 - told.gone_since.get_or_insert(now).0 >= OVER_MS;
            // What happened in a job stays so; it is only long ago.
            if is_over && told.about.job().is_none() {
                lines.push(format!("ALERT over: {}", told.what));
            }
            !is_over
        });
    }
}

fn line(alert: &Alert) -> String {
    let Alert { what, value, limit, hint, .. } = alert;
    let limit = limit.as_ref().map(|limit| format!(", threshold {limit}")).unwrap_or_default();
    format!("ALERT {what}: {value}{limit}; {hint}")
}

fn is_told_anyway(about: &About) -> bool {
    match about {
        About::Lost(_) | About::Unreadable(_) | About::Engine(_) | About::Failed(_) => true,
        About::Driver
        | About::Temperature(_)
        | About::Memory(_)
        | About::Floor(_)
        | About::Load(_)
        | About::Disk(_)
        | About::NoRoom
        | About::Set(..)
        | About::NotKept(_) => false,
    }
}
