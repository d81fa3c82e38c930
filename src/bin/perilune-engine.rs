//! The engine: the only program that links libtorch. Started by the daemon, never by hand.

use std::process::ExitCode;

use perilune::engine::serve::serve;

fn main() -> ExitCode {
    match serve(|_| {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
