//! What plays a recording, as the dashboard sees it: what it can be asked, and where it stands.
//!
//! The dashboard's clock is then the recording's: ages and spans are those of back then.

use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::units::Timestamp;

/// Something to be done with a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Play {
    /// Stop, or go on.
    Toggle,
    /// Ten seconds back.
    Back,
    /// Ten seconds ahead.
    Ahead,
    /// A minute back.
    FarBack,
    /// A minute ahead.
    FarAhead,
    /// Half as fast.
    Slower,
    /// Twice as fast.
    Faster,
}

impl Play {
    /// Returns the milliseconds that it jumps, if it does.
    #[must_use]
    pub fn jump_ms(self) -> Option<i64> {
        match self {
            Self::Back => Some(-10_000),
            Self::Ahead => Some(10_000),
            Self::FarBack => Some(-60_000),
            Self::FarAhead => Some(60_000),
            Self::Toggle | Self::Slower | Self::Faster => None,
        }
    }
}

/// The slowest and the fastest that a recording is played.
pub const SPEEDS: [f64; 2] = [0.125, 1024.0];

/// Where the playing stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// The first moment.
    pub begun: Timestamp,
    /// The last one.
    pub ended: Timestamp,
    /// The moment that was played at `since`.
    pub at: Timestamp,
    /// When it was.
    pub since: Instant,
    /// Recorded seconds for each that goes by.
    pub speed: f64,
    /// Whether it goes on.
    pub plays: bool,
}

impl Head {
    /// Returns the head at the beginning of a recording.
    #[must_use]
    pub fn new(begun: Timestamp, ended: Timestamp, speed: f64, now: Instant) -> Self {
        Self { begun, ended, at: begun, since: now, speed: speed.clamp(SPEEDS[0], SPEEDS[1]), plays: true }
    }

    /// Returns the recorded moment that is shown now.
    #[must_use]
    pub fn moment(&self, now: Instant) -> Timestamp {
        if !self.plays {
            return self.at;
        }
        let gone = now.saturating_duration_since(self.since).mul_f64(self.speed);
        self.at.plus(gone).min(self.ended)
    }

    /// Returns when a recorded moment is shown; never, while it does not play.
    #[must_use]
    pub fn due(&self, at: Timestamp) -> Option<Instant> {
        self.plays.then(|| self.since + at.since(self.at).div_f64(self.speed))
    }

    /// Does what is asked for.
    #[must_use]
    pub fn after(self, play: Play, now: Instant) -> Self {
        let at = self.moment(now);
        let still = Self { at, since: now, ..self };
        match play {
            // At its end it begins anew.
            Play::Toggle if !self.plays && at >= self.ended => Self { at: self.begun, plays: true, ..still },
            Play::Toggle => Self { plays: !self.plays, ..still },
            Play::Slower => Self { speed: (self.speed / 2.0).max(SPEEDS[0]), ..still },
            Play::Faster => Self { speed: (self.speed * 2.0).min(SPEEDS[1]), ..still },
            Play::Back | Play::Ahead | Play::FarBack | Play::FarAhead => {
                let to = at.0.saturating_add(play.jump_ms().unwrap_or(0));
                Self { at: Timestamp(to.clamp(self.begun.0, self.ended.0)), ..still }
            }
        }
    }

    /// Returns `0:01:12 of 0:05:00 at x2`, for the header.
    #[must_use]
    pub fn told(&self, at: Timestamp) -> String {
        let span = |to: Timestamp| {
            let seconds = to.since(self.begun).as_secs();
            format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        };
        let how = if self.plays { format!("x{}", self.speed) } else { "paused".to_owned() };
        format!("{} of {} {how}", span(at), span(self.ended))
    }
}

/// The way to what plays a recording.
#[derive(Debug)]
pub struct Player {
    /// What it shall do.
    pub orders: mpsc::UnboundedSender<Play>,
    /// Where it stands.
    pub head: watch::Receiver<Head>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_head_follows_keys_and_time() {
        let start = Instant::now();
        let later = |s: f64| start + Duration::from_secs_f64(s);
        let head = Head::new(Timestamp(0), Timestamp(100_000), 1.0, start);
        assert_eq!((head.moment(later(2.0)), head.moment(later(1000.0))), (Timestamp(2_000), Timestamp(100_000)));
        let fast = head.after(Play::Faster, later(2.0)).after(Play::Faster, later(2.0));
        assert_eq!(fast.moment(later(4.0)), Timestamp(10_000));
        assert_eq!(fast.due(Timestamp(10_000)), Some(later(4.0)));
        let paused = fast.after(Play::Toggle, later(4.0));
        assert_eq!((paused.moment(later(50.0)), paused.due(Timestamp(11_000))), (Timestamp(10_000), None));
        let back = paused.after(Play::FarBack, later(5.0)).after(Play::Ahead, later(5.0));
        assert_eq!(back.moment(later(6.0)), Timestamp(10_000));
        assert_eq!(back.told(back.at), "0:00:10 of 0:01:40 paused");
        let end = back.after(Play::FarAhead, later(7.0)).after(Play::FarAhead, later(7.0));
        assert_eq!(end.at, Timestamp(100_000));
        assert_eq!(end.after(Play::Toggle, later(8.0)).moment(later(8.0)), Timestamp(0), "from its end it begins anew");
        let slow = (0..20).fold(head, |h, _| h.after(Play::Slower, start));
        assert!((slow.speed - SPEEDS[0]).abs() < 1e-9);
    }
}
