//! One file per command.

mod advice;
mod backup;
mod bridge;
mod cache;
mod calibrate;
mod compat;
mod config;
pub(super) mod config_check;
mod convert;
mod convert_batch;
mod convert_there;
mod conversions;
pub(super) mod converter;
mod dashboard;
mod demo;
mod devices;
mod doctor;
pub(super) mod metrics;
mod models;
mod plan;
mod quality;
mod queue;
mod queue_move;
mod queue_save;
mod record;
mod replay;
mod run;
mod serve;
mod sets;
mod status;
mod stop;
mod verify;

use super::args::{Command, ModelsCommand};
use super::context::Context;
use crate::tui::screens::Screen;
use crate::workflow::Refusal;

/// Runs a command and returns the exit code of what came of it.
pub fn run(context: &Context, command: Option<Command>) -> Result<u8, Refusal> {
    match command {
        None => dashboard::dashboard(context, Screen::Overview),
        Some(Command::Run(args)) => run::run(context, *args),
        Some(Command::Queue(command)) => queue::queue(context, command).map(done),
        Some(Command::Status { watch }) => status::status(context, watch).map(done),
        Some(Command::Metrics) => metrics::metrics(context).map(done),
        Some(Command::Record(args)) => record::record(context, &args).map(done),
        Some(Command::Replay(args)) => replay::replay(context, &args),
        Some(Command::Devices) => devices::devices(context).map(done),
        Some(Command::Models(ModelsCommand::List)) => models::list(context).map(done),
        Some(Command::Models(ModelsCommand::Inspect { model })) => models::inspect(context, &model).map(done),
        Some(Command::Sets(command)) => sets::sets(context, command).map(done),
        Some(Command::Plan(args)) => plan::plan(context, *args),
        Some(Command::Convert(args)) => convert::convert(context, &args),
        Some(Command::Conversions(command)) => conversions::conversions(context, command).map(done),
        Some(Command::Cache(command)) => cache::cache(context, command),
        Some(Command::Calibrate(args)) => calibrate::calibrate(context, args).map(done),
        Some(Command::Demo { output, compute_device }) => demo::demo(context, output, compute_device),
        Some(Command::Serve(args)) => serve::serve(context, &args).map(done),
        Some(Command::Stop) => stop::stop(context).map(done),
        Some(Command::Converter) => converter::converter(&context.environment),
        Some(Command::Bridge) => bridge::bridge(context).map(done),
        Some(Command::Doctor) => doctor::doctor(context),
        Some(Command::Config { command }) => config::config(context, command),
    }
}

fn done(_: ()) -> u8 {
    0
}
