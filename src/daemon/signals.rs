//! Signals for processes that are not ours, by identity: number and start together, held while the signal is sent.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::telemetry;
use crate::wire::{ProcessSignal, SignalAsk};
use crate::workflow::{Kind, Refusal};

/// Sends a signal to the process that was meant, or says why not.
pub(super) fn send(ask: &SignalAsk) -> Result<(), Refusal> {
    let pid = i32::try_from(ask.pid).ok().and_then(Pid::from_raw).ok_or_else(|| gone(ask))?;
    // From here on the number cannot become another process's without our noticing: the descriptor stays with this one.
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| refused(ask, errno))?;
    if telemetry::start_ticks(ask.pid) != Some(ask.start_ticks) {
        return Err(gone(ask));
    }
    pidfd_send_signal(&process, signal(ask.signal)).map_err(|errno| refused(ask, errno))?;
    tracing::info!("sent {} to process {}", ask.signal.name(), ask.pid);
    Ok(())
}

fn signal(signal: ProcessSignal) -> Signal {
    match signal {
        ProcessSignal::Interrupt => Signal::INT,
        ProcessSignal::Terminate => Signal::TERM,
        ProcessSignal::Kill => Signal::KILL,
        ProcessSignal::Stop => Signal::STOP,
        ProcessSignal::Continue => Signal::CONT,
    }
}

fn gone(ask: &SignalAsk) -> Refusal {
    let message = format!("process {} has ended, and another one may have its number", ask.pid);
    Refusal::new(Kind::NotFound, message, "nothing was sent; r reads the devices again")
}

fn refused(ask: &SignalAsk, errno: Errno) -> Refusal {
    match errno {
        Errno::SRCH => gone(ask),
        Errno::PERM => {
            let message = format!("process {} is another user's", ask.pid);
            Refusal::new(Kind::Refused, message, format!("its user, or root, can: sudo kill -{} {}", ask.signal.name(), ask.pid))
        }
        other => Refusal::bare(Kind::Failed, format!("the system refused a signal for process {}: {other}", ask.pid)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "somebody else's process is what signals are for")]
    fn sleeper() -> (Child, SignalAsk) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let start_ticks = telemetry::start_ticks(child.id()).unwrap();
        let ask = SignalAsk { pid: child.id(), start_ticks, signal: ProcessSignal::Terminate };
        (child, ask)
    }

    #[test]
    fn the_process_that_was_meant_gets_the_signal() {
        let (mut child, ask) = sleeper();
        send(&ask).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert_eq!(send(&ask).unwrap_err().kind, Kind::NotFound, "it has ended");
    }

    #[test]
    fn another_process_of_the_same_number_gets_none() {
        let (mut child, ask) = sleeper();
        let refusal = send(&SignalAsk { start_ticks: ask.start_ticks + 1, ..ask }).unwrap_err();
        assert_eq!(refusal.kind, Kind::NotFound);
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
