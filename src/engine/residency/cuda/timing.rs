//! How long copies took and computing waited, by the GPU's own clock.

use std::sync::Arc;

use super::driver::Event;
use crate::engine::residency::Traffic;
use crate::placement::Subject;
use crate::units::Bytes;

/// Spans between two events, until both have been.
#[derive(Debug, Default)]
pub(super) struct Timing {
    copies: Vec<(Subject, Arc<Event>, Arc<Event>)>,
    waits: Vec<(Arc<Event>, Arc<Event>)>,
    counted: Traffic,
}

impl Timing {
    /// Counts a copy that has begun, and remembers its span.
    pub(super) fn copy(&mut self, link: Subject, bytes: Bytes, begin: Arc<Event>, end: Arc<Event>) {
        self.counted.flows.entry(link).or_default().bytes += bytes;
        self.copies.push((link, begin, end));
    }

    /// Remembers a span in which computing may have waited.
    pub(super) fn wait(&mut self, begin: Arc<Event>, end: Arc<Event>) {
        self.waits.push((begin, end));
    }

    /// Returns what was counted and what has ended since this was last asked.
    pub(super) fn take(&mut self) -> Traffic {
        let Self { copies, waits, counted } = self;
        copies.retain(|(link, begin, end)| match begin.until(end) {
            Some(seconds) => {
                counted.flows.entry(*link).or_default().busy += seconds;
                false
            }
            None => true,
        });
        waits.retain(|(begin, end)| match begin.until(end) {
            Some(seconds) => {
                counted.stalled += seconds;
                false
            }
            None => true,
        });
        std::mem::take(counted)
    }
}
