//! Where reports go: one channel, emptied by the writer thread.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::preview::Thumbnail;
use crate::units::RunId;
use crate::wire::Report;

/// Sends reports. A daemon that went away hears nothing; the reader thread notices and ends the engine.
#[derive(Debug, Clone)]
pub struct Reporter {
    to: Sender<Report>,
}

impl Reporter {
    /// Returns a reporter into this channel.
    #[must_use]
    pub fn new(to: Sender<Report>) -> Self {
        Self { to }
    }

    /// Sends a report off.
    pub fn report(&self, report: Report) {
        // Only fails once the writer has ended, and then nobody listens any more.
        drop(self.to.send(report));
    }
}

/// Sends a run's previews, at most two a second.
#[derive(Debug)]
pub struct PreviewRate {
    last: Option<Instant>,
}

impl PreviewRate {
    const PAUSE: Duration = Duration::from_millis(500);

    /// Returns the rate of a run of which nothing was shown yet.
    #[must_use]
    pub fn new() -> Self {
        Self { last: None }
    }

    /// Returns whether another preview may be sent now, and takes it as sent.
    pub fn take(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= Self::PAUSE);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

impl Default for PreviewRate {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the report that shows `thumbnail`.
#[must_use]
pub fn preview(run: RunId, step: u32, thumbnail: &Thumbnail) -> Report {
    Report::Preview { run, step, width: thumbnail.width, height: thumbnail.height, rgb: STANDARD.encode(&thumbnail.rgb) }
}
