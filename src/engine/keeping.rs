//! What is known of the device's memory from step to step, and who holds it.

use std::fmt;
use std::time::{Duration, Instant};

use super::device::Compute;
use crate::placement::pressure::{Pressure, Verdict};
use crate::units::Bytes;

/// Tells all of a device's memory and what of it is free, where that can be told.
pub type Memory = dyn Fn(&Compute) -> Option<(Bytes, Bytes)>;

/// All of the device's memory and what of it is free; the time since any moment. The real ones, or a test's.
pub struct Senses {
    /// See [`Compute::memory`].
    pub memory: Box<Memory>,
    /// The time.
    pub now: Box<dyn Fn() -> Duration>,
}

impl Senses {
    /// Returns the real ones.
    #[must_use]
    pub fn real() -> Self {
        let began = Instant::now();
        Self { memory: Box::new(Compute::memory), now: Box::new(move || began.elapsed()) }
    }
}

impl fmt::Debug for Senses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Senses").finish_non_exhaustive()
    }
}

/// Watches the device's memory, from run to run.
#[derive(Debug)]
pub struct Keeper {
    senses: Senses,
    pressure: Option<Pressure>,
    /// Whether it was said that memory is short and nothing can be given back.
    is_told: bool,
}

impl Keeper {
    /// Returns a keeper that has seen nothing yet.
    #[must_use]
    pub fn new(senses: Senses) -> Self {
        Self { senses, pressure: None, is_told: false }
    }

    /// Looks at the device's memory and says what is to be done. Where it cannot be read, nothing is.
    pub fn look(&mut self, compute: &Compute) -> Verdict {
        let Some((total, free)) = (self.senses.memory)(compute) else { return Verdict::Keep };
        let margin = compute.margin(total);
        let pressure = self.pressure.take().filter(|p| p.margin() == margin);
        let mut pressure = pressure.unwrap_or_else(|| Pressure::new(margin).within(total));
        let verdict = pressure.look(free, (self.senses.now)());
        self.pressure = Some(pressure);
        verdict
    }

    /// Returns what is to stay free of the device; nothing where its memory cannot be read.
    #[must_use]
    pub fn margin(&self, compute: &Compute) -> Bytes {
        (self.senses.memory)(compute).map_or(Bytes::ZERO, |(total, _)| compute.margin(total))
    }

    /// Says in words what is free of the device.
    #[must_use]
    pub fn told(&self, compute: &Compute) -> String {
        let told = |(total, free): (Bytes, Bytes)| format!("{free} of {total} are free");
        (self.senses.memory)(compute).map_or_else(|| "what is free is unknown".to_owned(), told)
    }

    /// Hears that weights have moved.
    pub fn disturb(&mut self) {
        if let Some(pressure) = &mut self.pressure {
            pressure.disturb();
        }
    }

    /// Notes whether memory is short without help. Returns whether that is news.
    pub fn helpless(&mut self, is_so: bool) -> bool {
        std::mem::replace(&mut self.is_told, is_so) != is_so && is_so
    }
}
