//! `perilune serve`: the daemon, in the foreground or for clients that start one.

use crate::cli::context::Context;
use crate::cli::output;
use crate::client::autostart::READY;
use crate::daemon::readings;
use crate::daemon::{self, Options, run::LOG};
use crate::logging::{self, Sinks};
use crate::workflow::{Kind, Refusal};

/// Runs the daemon until it is told to end.
pub(super) fn serve(context: &Context, detached: bool) -> Result<(), Refusal> {
    if detached {
        // A client's terminal is none of ours.
        if let Err(errno) = rustix::process::setsid() {
            tracing::debug!("already the leader of a session: {errno}");
        }
    }
    let settings = context.settings.clone();
    let sinks = Sinks { source: "daemon", terminal: !detached, folder: Some(settings.paths.logs()), ring: Some(&LOG) };
    let level = &settings.log;
    logging::start(&level.value, &sinks)
        .map_err(|e| Refusal::new(Kind::Usage, format!("{}: {e}", level.origin), "`perilune config` shows what is read from where"))?;
    let ready = move || {
        if detached {
            output::print(&format!("{READY}\n"));
        }
    };
    let sensors = readings::of_machine(&settings);
    let served = daemon::serve(Options { settings, sensors, ready: Box::new(ready) });
    if detached && let Err(refusal) = &served {
        // Whoever started us reads this.
        output::json(refusal);
    }
    served
}
