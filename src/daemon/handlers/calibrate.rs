//! Measures this box: readings first, then the device and the model are looked at, then an engine that is idle does it.

use crate::daemon::calibrations::Calibration;
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::sets;
use crate::families::Role;
use crate::library::moonlet;
use crate::quant::precision::Target;
use crate::wire::control::CalibrateAsk;
use crate::wire::work::CalibrateOrder;
use crate::workflow::{JobDraft, JobSpec, Kind, Refusal};

/// Has the devices read, so that it is known which there are.
pub(super) fn calibrate(core: &mut Core, asker: Asker, ask: CalibrateAsk) {
    let within = if super::submit::all_heard(core) { super::READING } else { super::submit::FIRST_READING };
    super::read_devices(core, Pending::Calibrate(asker, ask), within);
}

/// The devices were read: has the device and the model looked at, as for a job.
pub(super) fn read(core: &mut Core, asker: Asker, ask: CalibrateAsk) {
    let with_network = ask.model.is_some();
    let draft = JobDraft {
        model: ask.model.unwrap_or_else(|| moonlet::NAME.to_owned()),
        compute_device: ask.compute_device,
        precision: ask.precision.map(Target::from),
        ..JobDraft::default()
    };
    let defaults = Box::new(super::submit::defaults(core));
    let ticket = core.expect(Pending::Calibration { asker, with_network });
    core.emit(Output::Prepare { ticket, draft: Box::new(draft), defaults });
}

/// It is known what is to be measured: has it done when the engine is ready.
pub(super) fn prepared(core: &mut Core, asker: Asker, with_network: bool, checked: Result<Box<JobSpec>, Refusal>) {
    let accepted = checked.and_then(|spec| idle(core, &spec).map(|()| spec));
    match accepted {
        Ok(spec) => {
            let network = spec.set.component(Role::Denoiser).filter(|_| with_network).map(|part| part.files.clone());
            let order =
                CalibrateOrder { precision: spec.computes_in(), network: network.unwrap_or_default(), scratch: spec.output.clone() };
            core.calibrations.insert(spec.compute, Calibration::new(asker, order));
        }
        Err(refusal) => core.answer(asker, Err(refusal)),
    }
}

/// What is measured beside other work is worth nothing.
fn idle(core: &Core, spec: &JobSpec) -> Result<(), Refusal> {
    if core.calibrations.contains_key(&spec.compute) {
        let message = format!("{} is being calibrated already", spec.compute);
        return Err(Refusal::new(Kind::Refused, message, "wait until that is done"));
    }
    if let Some(set) = sets::pinned_on(core, spec.compute).first() {
        let message = format!("set `{}` is pinned on {}, and what is measured beside it is worth nothing", set.name, set.device);
        return Err(Refusal::new(Kind::Refused, message, format!("`perilune sets unpin {}` lets it leave", set.id)));
    }
    match core.queue.active().next() {
        Some(job) => {
            let hint = format!("wait for it, or `perilune queue cancel {job}`; `perilune queue pause` keeps others from starting");
            Err(Refusal::new(Kind::Refused, format!("job {job} is running, and what is measured beside it is worth nothing"), hint))
        }
        None => Ok(()),
    }
}
