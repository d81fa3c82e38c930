//! One file per request. Each looks at the state, changes it, and asks for what is to be done.

pub(super) mod calibrate;
pub(super) mod cancel;
pub(super) mod clear;
pub(super) mod move_job;
pub(super) mod pause;
pub(super) mod plan;
pub(super) mod rebudget;
pub(super) mod resume;
pub(super) mod retry;
pub(super) mod sets;
pub(super) mod signal;
pub(super) mod submit;
pub(super) mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::input::{Asker, Ticket};
use super::output::{LookUp, Output};
use super::pending::Pending;
use super::{ahead, conversions, faults, snapshot, supervision};
use crate::ledger::{Command, Entry};
use crate::telemetry::Frame;
use crate::units::JobId;
use crate::wire::{Reply, Request};
use crate::workflow::{Kind, Refusal};

/// The most rows of one page: a frame of it stays far below the wire's limit.
const PAGE: u32 = 5_000;

/// Answers a request, now or when what it needs is known.
pub(super) fn handle(core: &mut Core, asker: Asker, request: Request) {
    match request {
        Request::Status => {
            core.emit(Output::Count);
            read_devices(core, Pending::StatusReadings(asker), READING);
        }
        Request::Devices => read_devices(core, Pending::Devices(asker), READING),
        Request::Subscribe(topics) => subscribe::subscribe(core, asker, topics),
        Request::Submit(draft) => submit::submit(core, asker, draft),
        Request::Calibrate(ask) => calibrate::calibrate(core, asker, ask),
        Request::Advise(model) => {
            let devices = snapshot::devices(core);
            core.emit(Output::LookUp(asker, LookUp::Advise(model, devices)));
        }
        Request::Convert(ask) => core.emit(Output::Locate(asker, ask)),
        Request::PauseConversions { conversion } => conversions::pause(core, asker, conversion, true),
        Request::ResumeConversions { conversion } => conversions::pause(core, asker, conversion, false),
        Request::CancelConversion(conversion) => conversions::cancel(core, asker, conversion),
        Request::Cache => core.emit(Output::LookUp(asker, LookUp::Cache)),
        Request::CleanCache(ask) => core.emit(Output::LookUp(asker, LookUp::Clean(ask))),
        Request::VerifyCached(path) => core.emit(Output::LookUp(asker, LookUp::Verify(path))),
        Request::KeepCached { path, kept } => core.emit(Output::LookUp(asker, LookUp::Keep { path, kept })),
        Request::Watch(device) => subscribe::watch(core, asker, device),
        Request::Signal(ask) => signal::signal(core, asker, ask),
        Request::Plan(ask) => plan::plan(core, Pending::Plan(asker, ask)),
        Request::Tune(ask) => plan::plan(core, Pending::Tune(asker, ask)),
        Request::List { states, after, limit } => {
            core.ask_ledger(Command::List { states, after, limit: limit.clamp(1, PAGE) }, Pending::Page(asker));
        }
        Request::Show(job) => {
            core.ask_ledger(Command::Views { jobs: vec![job], unfinished: 0, finished: 0, amiss: None }, Pending::Show(asker));
        }
        Request::Cancel(jobs) => cancel::cancel(core, asker, &jobs),
        Request::Withdraw(job) => cancel::withdraw(core, asker, job),
        Request::Retry(jobs) => retry::retry(core, asker, jobs),
        Request::Move { job, to } => move_job::move_job(core, asker, job, to),
        Request::Pause { job: None } => pause::queue(core, asker, true),
        Request::Resume { job: None } => pause::queue(core, asker, false),
        Request::Pause { job: Some(job) } => pause::job(core, asker, job),
        Request::Resume { job: Some(job) } => resume::job(core, asker, job),
        Request::Rebudget { job, ask } => rebudget::rebudget(core, asker, job, ask),
        Request::LoadSet(draft) => sets::load(core, asker, draft),
        Request::UnloadSet(set) => sets::unload(core, asker, &set),
        Request::PinSet(set) => sets::pin(core, asker, &set),
        Request::UnpinSet(set) => sets::unpin(core, asker, &set),
        Request::KeepSet { set, for_s } => sets::keep(core, asker, &set, for_s),
        Request::Clear { states } => clear::clear(core, asker, states),
        Request::Models => core.emit(Output::LookUp(asker, LookUp::Models)),
        Request::Inspect(name) => core.emit(Output::LookUp(asker, LookUp::Inspect(name))),
        Request::Log { limit } => core.emit(Output::LookUp(asker, LookUp::Log(limit))),
        Request::Stop => {
            core.answer(asker, Ok(Reply::Done));
            supervision::stop(core);
        }
    }
}

/// How long readings that a client asks for may take.
const READING: Duration = Duration::from_millis(500);

/// Nobody may have been looking for a while, so what was read last may be old.
pub(super) fn read_devices(core: &mut Core, pending: Pending, within: Duration) {
    let ticket = core.expect(pending);
    core.emit(Output::Read(ticket, within));
}

/// The devices were read: goes on with what they were read for.
pub(super) fn read(core: &mut Core, ticket: Ticket, frame: Arc<Frame>) {
    core.frame = frame;
    faults::tell(core);
    match core.pending.remove(&ticket) {
        Some(Pending::StatusReadings(asker)) => {
            core.ask_ledger(snapshot::question(core, None), Pending::Status(asker));
        }
        Some(Pending::Devices(asker)) => {
            let (devices, host) = (snapshot::devices(core), Box::new(snapshot::host(core)));
            core.answer(asker, Ok(Reply::Devices { devices, host }));
        }
        Some(Pending::FirstReadings) => submit::first_readings(core),
        Some(Pending::ReadingsAhead) => ahead::readings(core),
        Some(Pending::Calibrate(asker, ask)) => calibrate::read(core, asker, ask),
        Some(Pending::Plan(asker, ask)) => plan::read(core, asker, ask, LookUp::Plan),
        Some(Pending::Tune(asker, ask)) => plan::read(core, asker, plan::without_asks(ask), LookUp::Tune),
        Some(_) | None => {}
    }
}

/// Refuses something for jobs that are not in the queue, once the ledger has said what has become of them.
fn refuse_unknown(core: &mut Core, asker: Asker, jobs: &[JobId], verb: &'static str) {
    match jobs.first() {
        Some(job) => {
            core.ask_ledger(Command::Views { jobs: vec![*job], unfinished: 0, finished: 0, amiss: None }, Pending::Explain(asker, verb));
        }
        None => core.answer(asker, Ok(Reply::Changed(Vec::new()))),
    }
}

/// Says why a job cannot be `verb`, such as `moved`.
pub(super) fn explain(core: &mut Core, asker: Asker, verb: &'static str, entries: &[Entry]) {
    let Some(Entry { job, state, .. }) = entries.first() else { return };
    let hint = format!("`perilune queue show {job}` shows what has become of it");
    let message = if state.name() == verb {
        format!("job {job} is {verb} already")
    } else if core.trouble.is_some() && !state.is_final() && core.queue.get(*job).is_none() {
        // What ended it waits for the ledger.
        format!("job {job} was {state} and has ended; the ledger cannot be written to, and has it when that is possible again")
    } else {
        format!("job {job} is {state} and cannot be {verb}")
    };
    core.answer(asker, Err(Refusal::new(Kind::Refused, message, hint)));
}
