//! The command line: what was typed, what it means, what comes of it, how it is told.
//!
//! Data goes to standard output, everything else to standard error. An error is one line and a hint,
//! and its kind is the exit code.

pub mod alert_lines;
pub mod alerts;
pub mod args;
pub mod commands;
pub mod context;
pub mod conversions;
pub mod exporter;
pub mod exposition;
pub mod global;
pub mod intent;
pub mod offload;
pub mod output;
pub mod part_args;
pub mod plain;
pub mod plot;
pub mod quality_page;
pub mod replay;
pub mod report;
pub mod set_args;
pub mod watching;

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use self::args::{Cli, Command};
use self::context::{Context, WrongFile};
use self::output::Output;
use self::watching::ConfigCommand;
use crate::config::Environment;
use crate::workflow::{Kind, Refusal};

/// Runs the program with these arguments, the first of which is its name; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> u8 {
    let arguments = match all_text(arguments) {
        Ok(arguments) => arguments,
        Err(refusal) => return report::report(&refusal),
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Help is written as doc comments, whose backticks are for rustdoc.
            output::print(&error.render().to_string().replace('`', ""));
            return 0;
        }
        Err(error) => return report::report(&intent::typed_wrong(&error)),
    };
    if let Some((name, value)) = environment.not_text() {
        let message = format!("the variable {name}, `{value}`, is not valid UTF-8");
        return report::report(&Refusal::new(Kind::Usage, message, "rename what it leads to, and set it anew"));
    }
    if let Some(Command::Converter) = cli.command {
        // It reads no settings, which may have changed since the daemon read them.
        return commands::converter::converter(&environment).unwrap_or_else(|refusal| report::report(&refusal));
    }
    if let Some(refusal) = intent::too_many_hosts(&cli) {
        return report::report(&refusal);
    }
    let output = Output::of(&cli.global, &environment);
    if let Some(Command::Config { command: Some(ConfigCommand::Validate { files }) }) = &cli.command {
        // What is wrong with the settings is what it tells.
        let checked = commands::config_check::validate(&cli.global, &environment, output, files);
        return checked.unwrap_or_else(|refusal| report::report(&refusal));
    }
    let wrong = match &cli.command {
        Some(Command::Stop | Command::Doctor | Command::Config { .. }) => WrongFile::Told,
        _ => WrongFile::Refused,
    };
    let done = Context::new(cli.global, environment, output, wrong).and_then(|context| {
        if let Some(problem) = &context.problem {
            report::warn("the settings are used as if there were no file", problem);
        }
        commands::run(&context, cli.command)
    });
    match done {
        Ok(code) => code,
        Err(refusal) => report::report(&refusal),
    }
}

/// Paths travel as JSON, which is text; what is not text is refused before anything is done.
fn all_text(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, Refusal> {
    let texts = arguments.into_iter().enumerate().map(|(n, argument)| {
        argument.into_string().map_err(|raw| {
            let message = format!("argument {n}, `{}`, is not valid UTF-8", raw.to_string_lossy());
            Refusal::new(Kind::Usage, message, "rename the file, or type the argument in UTF-8")
        })
    });
    texts.collect()
}
