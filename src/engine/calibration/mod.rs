//! Measures the machine on purpose: its links, its memory, and how fast it computes with blocks of each kind.
//!
//! Everything is done as streaming and computing do it: what is measured here is what a forecast adds up. A finding is
//! told when it is there; the daemon keeps none of them before the last.

mod blocks;
mod links;
mod network;
mod storage;

use std::time::Instant;

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::Compute;
use crate::placement::{Finding, Speed, Subject};
use crate::units::DeviceId;
use crate::wire::work::CalibrateOrder;

/// A calibration on its way.
struct Bench<'a> {
    compute: &'a Compute,
    order: &'a CalibrateOrder,
    cancel: &'a CancelFlag,
    tell: &'a dyn Fn(Finding),
}

/// Measures all there is, and tells each finding.
pub fn calibrate(compute: &Compute, order: &CalibrateOrder, cancel: &CancelFlag, tell: &dyn Fn(Finding)) -> Result<(), EngineError> {
    let bench = Bench { compute, order, cancel, tell };
    storage::measure(&bench)?;
    blocks::memory(&bench)?;
    if matches!(compute.id, DeviceId::Cuda(_)) {
        links::measure(&bench)?;
    }
    blocks::measure(&bench)?;
    if !order.network.is_empty() {
        network::measure(&bench)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn link(&self, subject: Subject, bytes_per_second: f64) {
        (self.tell)(Finding::Speed(subject, Speed { flops: 0.0, bytes_per_second, measured: true }));
    }

    /// Returns the median seconds of doing this so many times, after once that does not count.
    fn seconds(&self, times: usize, mut work: impl FnMut() -> Result<(), EngineError>) -> Result<f64, EngineError> {
        let mut taken = Vec::with_capacity(times);
        for n in 0..=times {
            self.cancel.check()?;
            let began = Instant::now();
            work()?;
            self.compute.synchronize();
            if n > 0 {
                taken.push(began.elapsed().as_secs_f64());
            }
        }
        taken.sort_unstable_by(f64::total_cmp);
        Ok(taken.get(taken.len() / 2).copied().unwrap_or_default())
    }
}
