//! What an operator should know of a plan before it is carried out.

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
        let unmeasured: Vec<String> = std::iter::once((planned.plan.compute, model.measured))
            .chain(predicted.links.iter().map(|l| (l.device, machine.speed(l.device).measured)))
            .filter(|(_, measured)| !measured)
            .map(|(device, _)| device.to_string())
            .collect();
        warnings.push(format!("the speed of {} is assumed, not measured: one run measures it", unmeasured.join(" and ")));
    }
    if predicted.step_s > predicted.compute_s * WAITS && !predicted.links.is_empty() {
        let waits = 100.0 * (1.0 - predicted.compute_s / predicted.step_s);
        warnings.push(format!("{waits:.0} % of a step is waiting for weights"));
    }
    warnings
}
