//! `perilune queue save`: the jobs that wait, as the commands that submit them again.

use std::io;
use std::path::Path;

use serde_json::json;

use super::queue::ask;
use crate::cli::output::{Output, plain};
use crate::client::Client;
use crate::client::call::unexpected;
use crate::config::queue_file;
use crate::jobs::JobState;
use crate::wire::{Reply, Request};
use crate::workflow::{JobDraft, Kind, Refusal, Whose, script_to};

/// Jobs of one page.
const PAGE: u32 = 500;

fn not_written(file: &Path, error: &io::Error) -> Refusal {
    let message = format!("{} cannot be written: {error}", file.display());
    match error.kind() {
        io::ErrorKind::AlreadyExists => Refusal::new(Kind::Refused, message, "name another file, or remove it"),
        _ => Refusal::new(Kind::Failed, message, "check the folder and its permissions"),
    }
}

/// Writes every job that waits, in their order. They go on waiting.
pub(super) async fn save(mut daemon: Client, output: Output, file: &Path, whose: Whose<'_>) -> Result<(), Refusal> {
    let (mut drafts, mut after) = (Vec::new(), None);
    loop {
        let states = vec![JobState::Queued, JobState::Held];
        let (rows, next) = match daemon.call(Request::List { states, after, limit: PAGE }).await? {
            Reply::Rows { rows, next, .. } => (rows, next),
            reply => return Err(unexpected(&reply)),
        };
        for row in rows {
            let view = ask(&mut daemon, row.job).await?;
            drafts.push(JobDraft { held: view.state == JobState::Held, ..JobDraft::again(&view.spec) });
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    queue_file::write(file, &script_to(whose, &drafts)).map_err(|error| not_written(file, &error))?;
    output.show(&json!({"path": file, "jobs": drafts.len()}), || {
        format!("{} jobs in {}; `sh` submits them again\n", drafts.len(), plain(&file.display().to_string()))
    });
    Ok(())
}
