//! `perilune demo`: one picture with the model that comes with the program.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::dashboard::dashboard;
use super::{queue, run};
use crate::cli::args::RunArgs;
use crate::cli::context::Context;
use crate::cli::part_args::PlacingArgs;
use crate::cli::{intent, report};
use crate::library::moonlet;
use crate::tui::screens::Screen;
use crate::units::{DeviceId, JobId};
use crate::workflow::Refusal;

/// What it knows to draw.
const PROMPT: &str = "a full moon over the sea, blue sky, night";

/// Makes the picture. On a terminal the dashboard shows how.
pub(super) fn demo(context: &Context, output: Option<PathBuf>, compute_device: Option<DeviceId>) -> Result<u8, Refusal> {
    let placing = PlacingArgs { compute_device, ..PlacingArgs::default() };
    let args = RunArgs { model: moonlet::NAME.to_owned(), prompt: PROMPT.to_owned(), output, placing, ..RunArgs::default() };
    let watched = !context.output.json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if !watched {
        return run::run(context, args);
    }
    let draft = intent::draft(args, context)?;
    let job = context.with_daemon(|mut daemon| async move { run::submit(&mut daemon, draft).await })?;
    // The job that runs is selected there, and its preview stands beside the list.
    let code = dashboard(context, Screen::Queue)?;
    tell(context, job)?;
    Ok(code)
}

/// Says what has become of the job by the time the dashboard was left.
fn tell(context: &Context, job: JobId) -> Result<(), Refusal> {
    let view = context.with_daemon(|mut daemon| async move { queue::ask(&mut daemon, job).await })?;
    if !view.state.is_final() {
        report::note(&format!("job {job} is {} and goes on without you; `perilune queue show {job}`", view.state));
        return Ok(());
    }
    run::conclude(context.output, &view).map(drop)
}
