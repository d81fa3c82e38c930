//! Whether a device still answers.
//!
//! ```text
//!                 some answers              no answer at all, three times; or: it is gone
//!   Ok  <──────────────────────>  Degraded(n)  ───────────────────────────────>  Lost
//!    ^                                                                             │
//!    └──────────────────── answers, tried again every 30 s ────────────────────────┘
//! ```
//!
//! Pure: `now` comes from the caller. A lost device keeps its last values; that is the caller's part.

use std::time::Duration;

use crate::devices::Health;
use crate::units::Timestamp;

/// Readings in a row without any answer after which a device counts as lost.
const MISSES_TO_LOSE: u32 = 3;

/// How often a lost device, or a driver that does not start, is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// What one attempt to read a device came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything it can tell was told.
    Answered,
    /// Some was told, and some failed that should not.
    Partly,
    /// Nothing was told.
    Missed(String),
    /// It is not there any more, or needs a reset.
    Gone(String),
}

#[derive(Debug, Clone)]
struct Loss {
    reason: String,
    since: Timestamp,
    tried: Option<Timestamp>,
}

/// The life of one device as far as we can see it.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    misses: u32,
    loss: Option<Loss>,
    answered: Option<Timestamp>,
}

impl Condition {
    /// Takes note of an attempt.
    pub(super) fn note(&mut self, verdict: Verdict, now: Timestamp) {
        match verdict {
            Verdict::Answered => *self = Self { misses: 0, loss: None, answered: Some(now) },
            Verdict::Partly => *self = Self { misses: self.misses.saturating_add(1), loss: None, answered: Some(now) },
            Verdict::Missed(reason) => {
                self.misses = self.misses.saturating_add(1);
                if self.loss.is_some() || self.misses >= MISSES_TO_LOSE {
                    self.lose(reason, now);
                }
            }
            Verdict::Gone(reason) => {
                self.misses = self.misses.saturating_add(1);
                self.lose(reason, now);
            }
        }
    }

    fn lose(&mut self, reason: String, now: Timestamp) {
        let since = self.loss.as_ref().map_or(now, |l| l.since);
        self.loss = Some(Loss { reason, since, tried: Some(now) });
    }

    /// Lets a lost device be tried at once, for example because the driver was opened again.
    pub(super) fn try_soon(&mut self) {
        if let Some(loss) = &mut self.loss {
            loss.tried = None;
        }
    }

    /// Returns whether the device should be asked now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.loss.as_ref().is_none_or(|l| is_due(l.tried, now))
    }

    /// Returns whether the device is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.loss.is_some()
    }

    /// Returns what to show.
    pub(super) fn health(&self, now: Timestamp) -> Health {
        match &self.loss {
            Some(loss) => {
                let since = self.answered.unwrap_or(loss.since);
                Health::Lost { reason: loss.reason.clone(), for_s: now.since(since).as_secs_f64() }
            }
            None if self.misses > 0 => Health::Degraded { misses: self.misses },
            None => Health::Ok,
        }
    }

    /// Returns how long ago the device last answered, zero where it never did.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        self.answered.map_or(Duration::ZERO, |at| now.since(at))
    }
}

/// Returns whether something tried at `last` should be tried again. A clock set back counts as time passed.
pub(super) fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now < last || now.since(last) >= RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed() -> Verdict {
        Verdict::Missed("unknown error".to_owned())
    }

    fn gone() -> Verdict {
        Verdict::Gone("fell off the bus".to_owned())
    }

    #[test]
    fn follows_the_drawing() {
        let mut condition = Condition::default();
        let mut now = 0;
        let mut step = |verdict: Verdict| {
            now += 1_000;
            condition.note(verdict, Timestamp(now));
            condition.health(Timestamp(now))
        };
        assert_eq!(step(Verdict::Answered), Health::Ok);
        assert_eq!(step(Verdict::Partly), Health::Degraded { misses: 1 });
        assert_eq!(step(Verdict::Answered), Health::Ok);
        assert_eq!(step(missed()), Health::Degraded { misses: 1 });
        assert_eq!(step(missed()), Health::Degraded { misses: 2 });
        assert_eq!(step(missed()), Health::Lost { reason: "unknown error".to_owned(), for_s: 3.0 });
        assert_eq!(step(gone()), Health::Lost { reason: "fell off the bus".to_owned(), for_s: 4.0 });
        assert_eq!(step(Verdict::Answered), Health::Ok);
        assert_eq!(step(gone()), Health::Lost { reason: "fell off the bus".to_owned(), for_s: 1.0 });
    }

    #[test]
    fn a_device_that_tells_something_is_never_lost() {
        let mut condition = Condition::default();
        for n in 1..100 {
            condition.note(Verdict::Partly, Timestamp(n));
        }
        assert_eq!(condition.health(Timestamp(100)), Health::Degraded { misses: 99 });
    }

    #[test]
    fn a_lost_device_is_tried_every_thirty_seconds() {
        let mut condition = Condition::default();
        assert!(condition.is_due(Timestamp(0)));
        condition.note(gone(), Timestamp(5_000));
        assert!(!condition.is_due(Timestamp(34_999)));
        assert!(condition.is_due(Timestamp(35_000)));
        condition.note(gone(), Timestamp(35_000));
        assert!(!condition.is_due(Timestamp(64_999)));
        condition.try_soon();
        assert!(condition.is_due(Timestamp(35_001)) && condition.is_lost());
        condition.note(gone(), Timestamp(35_001));
        assert!(condition.is_due(Timestamp(1_000)), "a clock that was set back must not stop the attempts");
    }
}
