//! `perilune serve`: the daemon, in the foreground or for clients that start one.

use crate::cli::context::Context;
use crate::cli::exporter::{self, Reach};
use crate::cli::output;
use crate::cli::watching::ServeArgs;
use crate::client::autostart::READY;
use crate::client::{Gate, Place};
use crate::daemon::readings;
use crate::daemon::{self, Options, run::LOG};
use crate::logging::{self, Sinks};
use crate::workflow::{Kind, Refusal};

/// Runs the daemon until it is told to end.
pub(super) fn serve(context: &Context, args: &ServeArgs) -> Result<(), Refusal> {
    let detached = args.detached;
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
    let reach = if args.metrics_from_anywhere { Reach::Anybody } else { Reach::Loopback };
    let listener = args.metrics.map(|address| exporter::bind(address, reach)).transpose()?;
    let gate = Gate { spawn: false, place: Place::Local, ..context.gate() };
    let ready = move || {
        if let Some(listener) = listener {
            exporter::start(listener, gate);
        }
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
