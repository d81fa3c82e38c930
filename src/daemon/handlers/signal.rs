//! Sends a signal to a process that holds memory of a GPU: never to an engine, whose jobs have verbs of their own.

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::{LookUp, Output};
use crate::wire::SignalAsk;
use crate::workflow::{Kind, Refusal};

/// Looks whether the process is one that may be told something; who it is, is found out where it is told.
pub(super) fn signal(core: &mut Core, asker: Asker, ask: SignalAsk) {
    if core.policy.pid == ask.pid || core.engines.values().any(|engine| engine.pid == Some(ask.pid)) {
        let hint = "cancel its job, or `perilune stop` ends the daemon with all engines";
        return core.answer(asker, Err(Refusal::new(Kind::Refused, format!("process {} is one of ours", ask.pid), hint)));
    }
    let listed = core.frame.devices.iter().flat_map(|d| &d.processes).any(|p| p.pid == ask.pid && p.start_ticks == Some(ask.start_ticks));
    if !listed {
        let message = format!("process {} does not hold memory of a GPU any more", ask.pid);
        return core.answer(asker, Err(Refusal::new(Kind::NotFound, message, "it may have ended; r reads the devices again")));
    }
    core.emit(Output::LookUp(asker, LookUp::Signal(ask)));
}
