//! `perilune` without a command.

use super::status;
use crate::cli::context::Context;
use crate::workflow::Refusal;

/// Opens the dashboard. Until there is one, shows the status.
pub(super) fn dashboard(context: &Context) -> Result<(), Refusal> {
    status::status(context, false)
}
