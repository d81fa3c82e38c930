//! `perilune metrics`: the status as text for Prometheus.

use serde_json::json;

use super::status;
use crate::cli::context::Context;
use crate::cli::exposition;
use crate::client::{Client, Gate};
use crate::wire::Status;
use crate::workflow::Refusal;

/// Prints the metrics once.
pub(super) fn metrics(context: &Context) -> Result<(), Refusal> {
    let gate = context.gate();
    let status = context.wait_for(async { ask(&gate).await })?;
    let text = exposition::text(&status)?;
    context.output.show(&json!({"content_type": exposition::CONTENT_TYPE, "text": text}), || text.clone());
    Ok(())
}

/// Asks the daemon for everything at this moment.
pub(in crate::cli) async fn ask(gate: &Gate) -> Result<Box<Status>, Refusal> {
    status::ask(&mut Client::connect(gate).await?).await
}
