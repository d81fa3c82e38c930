//! `perilune conversions`: what the daemon is converting.

use serde_json::json;

use super::status;
use crate::cli::context::Context;
use crate::cli::conversions::ConversionsCommand;
use crate::cli::output::{significant, table};
use crate::client::Client;
use crate::client::call::unexpected;
use crate::wire::{ConversionView, Reply, Request};
use crate::workflow::Refusal;

/// Looks at conversions on their way, or changes them.
pub(super) fn conversions(context: &Context, command: ConversionsCommand) -> Result<(), Refusal> {
    let requests = match command {
        ConversionsCommand::List => return list(context),
        ConversionsCommand::Pause { conversion } => vec![Request::PauseConversions { conversion }],
        ConversionsCommand::Resume { conversion } => vec![Request::ResumeConversions { conversion }],
        ConversionsCommand::Cancel { conversions } => conversions.into_iter().map(Request::CancelConversion).collect(),
    };
    let views = context.with_daemon(|mut daemon| async move {
        for request in requests {
            changed(&mut daemon, request).await?;
        }
        Ok(status::ask(&mut daemon).await?.conversions)
    })?;
    show(context, &views);
    Ok(())
}

async fn changed(daemon: &mut Client, request: Request) -> Result<(), Refusal> {
    match daemon.call(request).await? {
        Reply::Done => Ok(()),
        reply => Err(unexpected(&reply)),
    }
}

fn list(context: &Context) -> Result<(), Refusal> {
    let status = context.with_daemon(|mut daemon| async move { status::ask(&mut daemon).await })?;
    show(context, &status.conversions);
    Ok(())
}

fn show(context: &Context, views: &[ConversionView]) {
    context.output.show(&json!({"conversions": views}), || {
        if views.is_empty() {
            return "nothing is being converted\n".to_owned();
        }
        table(&["id", "source", "to", "state", "read", "left", "jobs"], views.iter().map(row))
    });
}

fn row(view: &ConversionView) -> Vec<String> {
    let state = match (view.paused, view.running) {
        (true, _) => "paused",
        (false, true) => "running",
        (false, false) => "waits",
    };
    let read = if view.bytes.get() > 0 { format!("{:.0} % of {}", view.ratio() * 100.0, view.bytes) } else { "-".to_owned() };
    let jobs: Vec<String> = view.jobs.iter().map(ToString::to_string).collect();
    vec![
        view.id.to_string(),
        view.source.display().to_string(),
        view.to.to_string(),
        state.to_owned(),
        read,
        view.left_s().map_or_else(|| "-".to_owned(), |left| format!("{} s", significant(left))),
        if jobs.is_empty() { "-".to_owned() } else { jobs.join(" ") },
    ]
}
