//! What an operator should know of a plan before it is carried out.

use super::pace::Grounds;
use super::planner::Planned;
use super::propose::{Machine, Model};

/// From how much of a step on, waiting for weights is worth a word.
const WAITS: f64 = 1.5;

/// Returns what should be known of a plan.
#[must_use]
pub fn warnings(planned: &Planned, model: &Model, machine: &Machine) -> Vec<String> {
    let mut warnings = Vec::new();
    let predicted = &planned.predicted;
    if !predicted.calibrated {
        let mut unmeasured: Vec<String> = std::iter::once((planned.plan.compute, model.grounds.is_measured()))
            .chain(predicted.links.iter().map(|l| (l.device, machine.speed(l.device).measured)))
            .filter(|(_, measured)| !measured)
            .map(|(device, _)| device.to_string())
            .collect();
        if model.grounds == Grounds::OtherSizes {
            unmeasured.retain(|device| *device != planned.plan.compute.to_string());
            warnings.push("computing was not measured at this size: it is reckoned from others".to_owned());
        }
        if !unmeasured.is_empty() {
            let which = unmeasured.join(" and ");
            warnings.push(format!("the speed of {which} is assumed, not measured: a run measures it, or `perilune calibrate`"));
        }
    }
    if predicted.step_s > predicted.compute_s * WAITS && !predicted.links.is_empty() {
        let waits = 100.0 * (1.0 - predicted.compute_s / predicted.step_s);
        warnings.push(format!("{waits:.0} % of a step is waiting for weights"));
    }
    warnings
}
