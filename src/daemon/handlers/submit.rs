//! A new job: looked at, written down, and only then answered.

use std::time::Duration;

use crate::daemon::core::Core;
use crate::daemon::input::{Asker, Ticket};
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::snapshot;
use crate::devices::DeviceReading;
use crate::jobs::JobView;
use crate::ledger::{Command, Entry};
use crate::placement::OffloadAsk;
use crate::units::DeviceId;
use crate::wire::{Change, Reply};
use crate::workflow::{Defaults, JobDraft, JobSpec, Kind, Refusal};

/// How long the first readings may take: a driver that sleeps needs seconds to wake.
pub(in crate::daemon) const FIRST_READING: Duration = Duration::from_secs(5);

/// Has the draft looked at.
pub(super) fn submit(core: &mut Core, asker: Asker, draft: Box<JobDraft>) {
    if let Err(refusal) = open_for_jobs(core) {
        core.answer(asker, Err(refusal));
        return;
    }
    // A daemon that was started for this very job has not heard of its GPUs yet.
    let chosen = draft.compute_device.or(core.policy.compute);
    let must_wait = chosen.is_none() && !all_heard(core) && !core.waited_for_readings;
    if must_wait && core.unread.is_empty() {
        super::read_devices(core, Pending::FirstReadings, FIRST_READING);
    }
    // Jobs keep the order in which they came.
    if must_wait || !core.unread.is_empty() {
        core.unread.push_back((asker, draft));
    } else {
        look_at(core, asker, draft);
    }
}

/// The devices were read for the first time: goes on with the drafts that waited for it.
pub(super) fn first_readings(core: &mut Core) {
    // A driver that hangs is not waited for again and again.
    core.waited_for_readings = true;
    for (asker, draft) in std::mem::take(&mut core.unread) {
        look_at(core, asker, draft);
    }
}

/// Has the draft looked at, by the readings that there are.
fn look_at(core: &mut Core, asker: Asker, draft: Box<JobDraft>) {
    let defaults = Box::new(defaults(core));
    let ticket = core.expect(Pending::Draft { asker, held: draft.held });
    core.emit(Output::Prepare { ticket, draft, defaults });
}

/// What stands in for what a draft does not say, by the readings that there are.
pub(in crate::daemon) fn defaults(core: &Core) -> Defaults {
    let allowed = |d: &&DeviceReading| d.is_gpu_that_computes() && !is_hidden(core, d.id);
    let first_gpu = core.frame.devices.iter().find(allowed).map(|d| d.id);
    let compute = core.policy.compute.or(first_gpu).unwrap_or(DeviceId::Cpu);
    Defaults { compute, ..core.policy.defaults.clone() }
}

/// Whether every source of readings has answered.
pub(super) fn all_heard(core: &Core) -> bool {
    !core.frame.devices.is_empty() && core.frame.waiting.is_empty()
}

/// What the draft asks for is known: writes the job down.
pub(in crate::daemon) fn prepared(core: &mut Core, ticket: Ticket, result: Result<Box<JobSpec>, Refusal>) {
    let pending = core.pending.remove(&ticket);
    let devices = |spec: &JobSpec| named(spec.compute, spec.parts.iter().map(|(_, ask)| ask).chain([&spec.offload]));
    let checked = open_for_jobs(core).and(result).and_then(|spec| all_are_there(core, &devices(&spec)).map(|()| spec));
    match (pending, checked) {
        (Some(Pending::Draft { asker, held }), Ok(spec)) => core.ask_ledger(Command::Append { spec, held }, Pending::Append(asker)),
        (Some(Pending::Draft { asker, .. }), Err(refusal)) => core.answer(asker, Err(refusal)),
        (Some(Pending::LoadSet(asker)), checked) => super::sets::prepared(core, asker, checked),
        (Some(Pending::LookAhead(at)), checked) => crate::daemon::ahead::prepared(core, at, checked),
        (Some(Pending::Calibration { asker, with_network }), checked) => super::calibrate::prepared(core, asker, with_network, checked),
        (Some(_) | None, _) => {}
    }
}

/// The job is on disk.
pub(in crate::daemon) fn appended(core: &mut Core, asker: Asker, entries: Vec<Entry>, views: Vec<JobView>) {
    for entry in entries {
        core.answer(asker, Ok(Reply::Accepted(entry.job)));
        core.queue.insert(entry);
    }
    core.news.counts = true;
    for view in views {
        let view = snapshot::seen_now(core, view);
        core.publish(Change::Job(Box::new(view)));
    }
}

fn open_for_jobs(core: &Core) -> Result<(), Refusal> {
    if core.stop_by.is_some() {
        return Err(Refusal::new(Kind::NoDaemon, "the daemon is ending", "ask again in a moment; a new one is started then"));
    }
    match &core.trouble {
        Some(trouble) => Err(Refusal::new(Kind::Failed, trouble.clone(), "make room on the disk that holds the ledger")),
        None => Ok(()),
    }
}

/// Whether the operator keeps jobs from a GPU.
pub(super) fn is_hidden(core: &Core, device: DeviceId) -> bool {
    let (Some(visible), DeviceId::Cuda(number)) = (&core.policy.visible, device) else { return false };
    let uuid = core.frame.devices.iter().find(|d| d.id == device).and_then(|d| d.uuid.as_deref());
    visible.hides(number, uuid)
}

/// Returns every device that computes or is to hold weights.
pub(super) fn named<'a>(compute: DeviceId, asks: impl IntoIterator<Item = &'a OffloadAsk>) -> Vec<DeviceId> {
    let donors = asks.into_iter().flat_map(|ask| ask.donors.iter().copied().chain(ask.devices(compute)));
    std::iter::once(compute).chain(donors).collect()
}

/// A GPU that nobody may use will never run the job.
pub(super) fn none_is_hidden(core: &Core, devices: &[DeviceId]) -> Result<(), Refusal> {
    let hidden = devices.iter().find(|device| is_hidden(core, **device));
    let (Some(visible), Some(device)) = (&core.policy.visible, hidden) else { return Ok(()) };
    let message = format!("{device} is hidden by {visible} in the daemon's environment");
    let hint = "choose another device, or `perilune stop` and start the daemon without the variable";
    Err(Refusal::new(Kind::Refused, message, hint))
}

/// Nor will one that nobody can see. Until every source has answered nothing is known, and all is allowed: a daemon that has
/// just started may have heard of its disks only.
pub(super) fn all_are_there(core: &Core, devices: &[DeviceId]) -> Result<(), Refusal> {
    none_is_hidden(core, devices)?;
    let known = &core.frame.devices;
    let is_there = |device: DeviceId| match device {
        DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) => known.iter().any(|d| d.id == device),
        DeviceId::Cpu | DeviceId::Disk => true,
    };
    let missing = devices.iter().find(|device| !is_there(**device)).filter(|_| all_heard(core));
    let Some(device) = missing else { return Ok(()) };
    let there: Vec<String> = known.iter().map(|d| d.id.to_string()).collect();
    let of_a_profile =
        "; simulated GPUs are those of the profile that the daemon was started with: `perilune stop`, and start it with `--profile`";
    let more = if device.is_simulated() { of_a_profile } else { "" };
    let hint = format!("there are {}; `perilune devices` shows them{more}", there.join(", "));
    Err(Refusal::new(Kind::NotFound, format!("there is no device {device}"), hint))
}
