//! `perilune demo`: one picture with the model that comes with the program.

use std::path::PathBuf;

use super::run;
use crate::cli::args::RunArgs;
use crate::cli::context::Context;
use crate::units::DeviceId;
use crate::workflow::Refusal;

/// The model that is always there.
const MODEL: &str = "moonlet";
/// What it knows to draw.
const PROMPT: &str = "a full moon over the sea, stars";

/// Makes the picture.
pub(super) fn demo(context: &Context, output: Option<PathBuf>, compute_device: Option<DeviceId>) -> Result<u8, Refusal> {
    let args = RunArgs { model: MODEL.to_owned(), prompt: PROMPT.to_owned(), output, compute_device, ..RunArgs::default() };
    run::run(context, args)
}
