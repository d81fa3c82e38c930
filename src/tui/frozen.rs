//! A display that stands still while data go on arriving.
//!
//! What is shown and what is known are the same until `z`; from then on news go to a copy that nobody sees, and the next `z` or
//! `esc` shows it. Whatever acts on things is refused meanwhile: what is seen may be gone.

use super::action::{Action, JobVerb, TuneVerb};
use super::alerts::Alerts;
use super::known::Known;
use super::layer::Layer;
use super::model::Model;
use crate::units::Timestamp;

/// What is known while something older is shown.
#[derive(Debug)]
pub struct Frozen {
    /// Since when the display stands still.
    pub since: Timestamp,
    /// The present: what is known, when it is, and what needs a look.
    live: (Known, Timestamp, Alerts),
}

impl Model {
    /// Stops the display, or shows the present again.
    pub fn freeze(&mut self) {
        if self.frozen.is_some() {
            self.swap();
            self.frozen = None;
        } else {
            let live = (self.known.clone(), self.now, self.alerts.clone());
            self.frozen = Some(Box::new(Frozen { since: self.now, live }));
        }
    }

    /// Puts the present where what is shown stands, and the other way around. News are taken in between two of these.
    pub(super) fn swap(&mut self) {
        if let Some(frozen) = &mut self.frozen {
            std::mem::swap(&mut self.known, &mut frozen.live.0);
            std::mem::swap(&mut self.now, &mut frozen.live.1);
            std::mem::swap(&mut self.alerts, &mut frozen.live.2);
        }
    }

    /// Returns the present moment, whatever is shown. While news are taken in it is what is shown that stands still.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.frozen.as_ref().map_or(self.now, |frozen| self.now.max(frozen.live.1))
    }

    /// Returns when something was last heard, whatever is shown.
    #[must_use]
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.frozen.as_ref().map_or(self.known.heard_at, |frozen| self.known.heard_at.max(frozen.live.0.heard_at))
    }
}

/// Returns why an action is refused because the display stands still, if it is.
#[must_use]
pub fn reason_against(model: &Model, action: Action) -> Option<String> {
    let acts = match action {
        Action::Job(JobVerb::Duplicate) => false,
        Action::Job(_) | Action::Tune(TuneVerb::Save) => true,
        other => other.needs_daemon(),
    };
    if acts { reason(model) } else { None }
}

/// Returns why nothing can be done to things, if the display stands still.
#[must_use]
pub fn reason(model: &Model) -> Option<String> {
    let key = || model.options.keys.key_of(&[Layer::Everywhere], Action::Freeze).unwrap_or_else(|| "esc".to_owned());
    model.frozen.as_ref().map(|_| format!("the display is frozen, and things may have changed; {} shows the present", key()))
}
