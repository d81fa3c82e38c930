//! The engine: the only program that links libtorch. Started by the daemon, never by hand.

use std::process::ExitCode;

use perilune::config::Environment;
use perilune::engine::residency::poison;
use perilune::engine::serve::serve;
use perilune::logging::{self, Sinks};

/// The daemon reads standard error, line by line, and keeps the last lines for the time after a death.
const SINKS: Sinks = Sinks { source: "engine", terminal: true, folder: None, ring: None };

fn main() -> ExitCode {
    if Environment::of_process().get(poison::ASKED_BY).is_some_and(|value| value != "0") {
        poison::ask_for();
    }
    let served = serve(|configure| {
        if let Err(error) = logging::start(&configure.log, &SINKS) {
            tracing::warn!("{error}");
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // An engine that was never told how to log may still say why it ends.
            drop(logging::start("error", &SINKS));
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
