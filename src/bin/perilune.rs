//! The dashboard and every command.

use std::process::ExitCode;

use perilune::{cli, config::Environment};

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os(), Environment::of_process()))
}
