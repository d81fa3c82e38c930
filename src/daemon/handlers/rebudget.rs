//! A job's weights get another budget: a waiting job's on the ledger, a running job's by its engine.
//!
//! A running job's engine moves blocks between two steps. Whoever asked is answered when it has said what came of it,
//! or when the run is over before it could. The ledger keeps the new budget, so that a later attempt asks the same.

use std::collections::VecDeque;

use super::{refuse_unknown, submit};
use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::state::Attempt;
use crate::ledger::Command;
use crate::placement::{FullAsk, OffloadAsk, ProposalError};
use crate::units::{DeviceId, JobId};
use crate::wire::Order;
use crate::wire::work::{Moved, Rebudget, Rebudgeted};
use crate::workflow::{Kind, Refusal};

/// Has a job's weights live elsewhere.
pub(super) fn rebudget(core: &mut Core, asker: Asker, job: JobId, ask: OffloadAsk) {
    let Some(waiting) = core.queue.get(job) else { return refuse_unknown(core, asker, &[job], "rebudgeted") };
    let (run, is_waiting) = (waiting.run, waiting.is_waiting());
    if let Err(error) = ask.check(waiting.entry.device) {
        return core.answer(asker, Err(Refusal::from(&ProposalError::Budget(error.into()))));
    }
    if let Err(refusal) = submit::all_are_there(core, &submit::named(waiting.entry.device, [&ask])) {
        return core.answer(asker, Err(refusal));
    }
    if is_waiting {
        core.ask_ledger(Command::Rebudget { job, ask }, Pending::Change(Some((asker, vec![job]))));
        return;
    }
    let attempt = run.and_then(|run| core.attempts.get_mut(&run)).filter(|a| Attempt::is_with_engine(a));
    let Some(attempt) = attempt else {
        let message = format!("job {job} is between its engine and the ledger just now, and cannot be rebudgeted");
        return core.answer(asker, Err(Refusal::new(Kind::Refused, message, "ask again in a moment")));
    };
    attempt.rebudgets.push_back(asker);
    let (device, run) = (attempt.device, attempt.run);
    core.emit(Output::Order { device, order: Box::new(Order::Rebudget { run, ask: Box::new(ask) }) });
}

/// The engine has moved the blocks, or has said why it did not.
pub(in crate::daemon) fn rebudgeted(core: &mut Core, report: Rebudgeted) {
    let Rebudgeted { run, ask, outcome } = report;
    let Some(attempt) = core.attempts.get_mut(&run) else { return };
    let (job, device, asker) = (attempt.job, attempt.device, attempt.rebudgets.pop_front());
    match outcome {
        Rebudget::Moved(moved) => {
            core.notice("info", said(job, device, &ask, &moved), Some(job));
            // The set that a run works with is the one that was used last.
            let placed = core.engines.get_mut(&device).and_then(|e| e.memory.as_mut()?.sets.first_mut()?.placed.as_mut());
            if let Some(placed) = placed {
                (placed.ask, placed.plan) = (ask.clone(), moved.plan);
            }
            core.news.sets = true;
            core.ask_ledger(Command::Rebudget { job, ask }, Pending::Change(asker.map(|asker| (asker, vec![job]))));
        }
        Rebudget::Refused(refusal) => {
            core.notice("warn", format!("job {job} keeps its weights where they are: {}", refusal.message), Some(job));
            if let Some(asker) = asker {
                core.answer(asker, Err(refusal));
            }
        }
    }
}

fn said(job: JobId, compute: DeviceId, ask: &OffloadAsk, moved: &Moved) -> String {
    let shares: Vec<String> = moved.shares.iter().map(|s| format!("{} on {}", s.bytes, s.device)).collect();
    let ask = FullAsk { compute, ask: ask.clone() }.with_pins();
    format!("job {job} goes on with `{ask}` after {:.2} s: {}", moved.seconds, shares.join(", "))
}

/// The run is over, or was taken from its engine: those who still wait are told.
pub(in crate::daemon) fn over(core: &mut Core, job: JobId, askers: VecDeque<Asker>) {
    for asker in askers {
        let message = format!("job {job} had no step left at which its weights could move");
        let hint = format!("`perilune queue show {job}` shows what has become of it");
        core.answer(asker, Err(Refusal::new(Kind::Refused, message, hint)));
    }
}
