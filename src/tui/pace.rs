//! When to draw: at once for keys, seldom for data, never for nothing.

use std::time::{Duration, Instant};

use super::model::Urgency;

/// Between two frames that keys ask for.
const INPUT: Duration = Duration::from_millis(16);
/// Between two frames that data ask for: four each second.
const DATA: Duration = Duration::from_millis(250);
/// Without data the screen is drawn anew this often, for clocks and ages.
const IDLE: Duration = Duration::from_millis(1100);

/// When to draw.
#[derive(Debug)]
pub struct Pace {
    last: Instant,
    frames: u64,
}

impl Pace {
    /// Returns a pace of which no frame was drawn yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { last: now.checked_sub(IDLE).unwrap_or(now), frames: 0 }
    }

    /// Notes that a frame was drawn.
    pub fn drawn(&mut self, now: Instant) {
        self.last = now;
        self.frames += 1;
    }

    /// Returns when the next frame is due.
    #[must_use]
    pub fn due(&self, dirty: Option<Urgency>) -> Instant {
        self.last
            + match dirty {
                // What follows the skeleton is what the operator waits for.
                Some(Urgency::Input) if self.frames < 2 => Duration::ZERO,
                Some(Urgency::Input) => INPUT,
                Some(Urgency::Data) => DATA,
                None => IDLE,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_at_once_and_data_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.due(Some(Urgency::Data)) <= start, "the first frame does not wait");
        pace.drawn(start);
        assert_eq!(pace.due(Some(Urgency::Input)), start, "nor does the first with something in it");
        pace.drawn(start);
        assert_eq!(pace.due(Some(Urgency::Input)) - start, Duration::from_millis(16));
        assert_eq!(pace.due(Some(Urgency::Data)) - start, Duration::from_millis(250));
        assert!(pace.due(None) - start > Duration::from_secs(1), "data that come each second need no frames between");
    }
}
