//! Calibrations on their way: each on an engine of its own device, and for a client that waits.
//!
//! What an engine finds is kept apart until it says that it is at its end. Then all of it counts, and the client hears of it
//! when it is on disk; a calibration that fails, or whose client leaves, leaves nothing behind.

use super::core::Core;
use super::input::Asker;
use super::output::Output;
use super::pending::Pending;
use super::state::Mode;
use super::{lessons, supervision};
use crate::placement::{Basis, Finding};
use crate::units::{DeviceId, SessionId};
use crate::wire::control::CalibrationView;
use crate::wire::work::{CALIBRATION, CalibrateOrder, FailedRun};
use crate::wire::{Order, Reply};
use crate::workflow::{Kind, Refusal};

/// A calibration.
#[derive(Debug)]
pub(super) struct Calibration {
    asker: Asker,
    order: CalibrateOrder,
    /// Whether the engine has been told.
    begun: bool,
    found: Vec<Finding>,
}

impl Calibration {
    /// Returns one that waits for its engine.
    pub(super) fn new(asker: Asker, order: CalibrateOrder) -> Self {
        Self { asker, order, begun: false, found: Vec::new() }
    }
}

/// Has those done whose engines are ready, and starts the engines of the others.
pub(super) fn start(core: &mut Core) {
    let waiting: Vec<DeviceId> = core.calibrations.iter().filter(|(_, c)| !c.begun).map(|(device, _)| *device).collect();
    for device in waiting {
        match core.engines.get(&device).map(|e| e.mode) {
            None | Some(Mode::Absent | Mode::Backoff(_) | Mode::Broken(_)) => supervision::start_engine(core, device),
            Some(Mode::Ready(_)) => begin(core, device),
            Some(Mode::Starting | Mode::Assigning(_) | Mode::Busy(_) | Mode::Calibrating | Mode::Ending(_)) => {}
        }
    }
}

fn begin(core: &mut Core, device: DeviceId) {
    let (Some(calibration), Some(engine)) = (core.calibrations.get_mut(&device), core.engines.get_mut(&device)) else { return };
    calibration.begun = true;
    engine.mode = Mode::Calibrating;
    let order = Order::Calibrate(Box::new(calibration.order.clone()));
    core.news.engines = true;
    core.emit(Output::Order { device, order: Box::new(order) });
}

/// The engine has found something.
pub(super) fn found(core: &mut Core, device: DeviceId, finding: Finding) {
    if let Some(calibration) = core.calibrations.get_mut(&device).filter(|c| c.begun) {
        calibration.found.push(finding);
    }
}

/// The engine is at its end with it, one way or another.
pub(super) fn ended(core: &mut Core, device: DeviceId, failure: Option<FailedRun>) {
    let Some(engine) = core.engines.get_mut(&device).filter(|e| e.mode == Mode::Calibrating) else { return };
    engine.mode = Mode::Ready(core.now);
    let about = engine.about.clone().unwrap_or_default();
    core.news.engines = true;
    let Some(Calibration { asker, order, found, .. }) = core.calibrations.remove(&device) else { return };
    match failure {
        None => {
            let basis = Basis { compute: device, precision: order.precision, engine: about };
            let view = Box::new(CalibrationView { basis: basis.clone(), findings: found.clone() });
            lessons::calibrated(core, &basis, &found, Pending::Calibrated(asker, view));
        }
        Some(failed) => core.answer(asker, Err(Refusal { kind: failed.kind, message: failed.message, hint: failed.hint })),
    }
}

/// What was found is on disk.
pub(super) fn recorded(core: &mut Core, asker: Asker, view: Box<CalibrationView>) {
    core.answer(asker, Ok(Reply::Calibrated(view)));
}

/// The engine is gone, or does not start.
pub(super) fn lost(core: &mut Core, device: DeviceId, how: &str) {
    if let Some(calibration) = core.calibrations.remove(&device) {
        let message = format!("the engine of {device} {how}, and what it had measured does not count");
        core.answer(calibration.asker, Err(Refusal::new(Kind::Failed, message, "`perilune doctor` says what is missing")));
    }
}

/// A client is gone: nobody waits for what it wanted.
pub(super) fn left(core: &mut Core, session: SessionId) {
    let gone: Vec<DeviceId> = core.calibrations.iter().filter(|(_, c)| c.asker.session == session).map(|(device, _)| *device).collect();
    for device in gone {
        if core.calibrations.remove(&device).is_some_and(|c| c.begun) {
            core.emit(Output::Order { device, order: Box::new(Order::Cancel(CALIBRATION)) });
        }
    }
}

/// The daemon ends.
pub(super) fn give_up(core: &mut Core) {
    for (_, calibration) in std::mem::take(&mut core.calibrations) {
        let refusal = Refusal::new(Kind::Interrupted, "the daemon is ending, and what was measured does not count", "calibrate again");
        core.answer(calibration.asker, Err(refusal));
    }
}
