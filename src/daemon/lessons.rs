//! What a finished run teaches about this box: kept in memory for the next plan, and in the ledger for the next daemon.

use super::core::Core;
use super::pending::Pending;
use crate::ledger::Command;
use crate::placement::{Basis, Finding, Forecast, Learned, Origin, Walk};
use crate::units::DeviceId;
use crate::weights::Precision;
use crate::wire::work::Finished;

/// What a finished run teaches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lesson {
    model: String,
    precision: Precision,
    findings: Vec<Finding>,
    walk: Option<Walk>,
    /// Seconds of a step as foretold and as measured, and whether the forecast rested on measurements.
    forecast: Option<(f64, f64, bool)>,
}

impl Lesson {
    /// Returns what a run of this model teaches, if it says what it was computed in.
    pub(super) fn of(model: &str, finished: &Finished) -> Option<Self> {
        let measured_s = median(&finished.timing.per_step);
        let forecast = finished.placement.predicted.as_ref().zip(measured_s).map(|(p, s)| (p.step_s, s, p.calibrated));
        let forecast = forecast.filter(|(predicted_s, measured_s, _)| predicted_s.is_finite() && measured_s.is_finite());
        let precision = finished.precision.parse().ok()?;
        Some(Self {
            model: model.to_owned(),
            precision,
            findings: sound(&finished.learned),
            walk: finished.walk.filter(|w| w.flops.is_finite()),
            forecast,
        })
    }
}

/// What can be reckoned with: an engine's word is not taken for granted.
fn sound(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().filter(|f| f.is_sound()).copied().collect()
}

/// The median of all steps but the first, which waits for more than the others.
fn median(steps: &[f64]) -> Option<f64> {
    let mut steps = if steps.len() > 1 { steps[1..].to_vec() } else { steps.to_vec() };
    steps.sort_unstable_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}

/// Keeps what the engine of a device has taught.
pub(super) fn keep(core: &mut Core, compute: DeviceId, lesson: Lesson) {
    let Some(engine) = core.engines.get(&compute).and_then(|e| e.about.clone()) else { return };
    let Lesson { model, precision, findings, walk, forecast } = lesson;
    let basis = Basis { compute, precision, engine };
    let found = core.now;
    let learned = |finding| Learned { basis: basis.clone(), finding, found, origin: Origin::Run };
    let learned: Vec<Learned> = findings.into_iter().map(learned).collect();
    let forecast =
        forecast.map(|(predicted_s, measured_s, calibrated)| Forecast { basis, model, walk, predicted_s, measured_s, calibrated });
    remember(core, learned, forecast, Pending::Nothing);
}

/// Keeps what a calibration has found; `then` follows when it is on disk.
pub(super) fn calibrated(core: &mut Core, basis: &Basis, findings: &[Finding], then: Pending) {
    let found = core.now;
    let learned = |finding| Learned { basis: basis.clone(), finding, found, origin: Origin::Calibration };
    remember(core, sound(findings).into_iter().map(learned).collect(), None, then);
}

/// Keeps what was found for the next plan and for the next daemon.
fn remember(core: &mut Core, found: Vec<Learned>, forecast: Option<Forecast>, then: Pending) {
    if found.is_empty() && forecast.is_none() && then == Pending::Nothing {
        return;
    }
    let learned = found.into_iter().map(|one| core.experience.learn(one)).collect();
    if let Some(forecast) = &forecast {
        core.experience.foretold(forecast.clone());
    }
    core.ask_ledger(Command::Learn { learned, forecast }, then);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_counts_only_where_it_is_the_only_one() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[9.0, 1.0, 2.0, 1.5])), (None, Some(3.0), Some(1.5)));
    }
}
