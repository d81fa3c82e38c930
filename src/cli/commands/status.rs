//! `perilune status`: one snapshot, or one every second.

use std::time::Duration;

use serde_json::Value;

use super::dashboard;
use super::devices::device_table;
use super::queue::age;
use crate::cli::alerts::{AlertView, alert_table};
use crate::cli::context::Context;
use crate::cli::output::{self, head, table};
use crate::client::Client;
use crate::client::call::unexpected;
use crate::devices::Labelled;
use crate::tui::alerts::{self, Alert, Sight};
use crate::wire::{EngineState, Reply, Request, Status};
use crate::workflow::Refusal;

/// Between two snapshots of a watch.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns what programs are told: all that the daemon tells, and under `alerts` what of it needs a look or a hand by the thresholds of
/// whoever asks.
fn shown(status: &Status, alerts: &[Alert]) -> Value {
    // Our own shapes always are JSON.
    let mut shown = serde_json::to_value(status).unwrap_or_default();
    shown["alerts"] = serde_json::to_value(alerts.iter().map(AlertView::from).collect::<Vec<_>>()).unwrap_or_default();
    shown
}

/// Shows the status, once or until interrupted.
pub(super) fn status(context: &Context, watch: bool) -> Result<(), Refusal> {
    let output = context.output;
    let thresholds = dashboard::thresholds(context);
    context.with_daemon(|mut daemon| async move {
        loop {
            let status = ask(&mut daemon).await?;
            if watch && output.color && !output.json {
                // Home, and clear what is below: one screen that changes in place.
                output::print("\x1b[H\x1b[J");
            }
            // By the daemon's clock, as is what it tells.
            let alerts = alerts::seen(Sight::from(&*status), thresholds, status.time);
            if output.json {
                output::json(&shown(&status, &alerts));
            } else {
                output::print(&text(&status, &alerts));
            }
            if !watch {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            if !output.color && !output.json {
                output::print("\n");
            }
        }
    })
}

/// Returns one snapshot.
pub(super) async fn ask(daemon: &mut Client) -> Result<Box<Status>, Refusal> {
    match daemon.call(Request::Status).await? {
        Reply::Status(status) => Ok(status),
        reply => Err(unexpected(&reply)),
    }
}

fn text(status: &Status, alerts: &[Alert]) -> String {
    let queue = &status.queue;
    let mut text = format!(
        "perilune {} · daemon {} · up {}\nqueue{}: {} queued, {} held, {} running, {} done, {} failed, {} cancelled\n",
        status.version,
        status.daemon.pid,
        age(Duration::from_secs_f64(status.daemon.uptime_s.max(0.0))),
        if queue.paused { " (paused)" } else { "" },
        queue.queued,
        queue.held,
        queue.running,
        queue.succeeded,
        queue.failed,
        queue.cancelled,
    );
    if !alerts.is_empty() {
        text.push('\n');
        text += &alert_table(alerts, status.time);
    }
    if !status.devices.is_empty() {
        text.push('\n');
        text += &device_table(&status.devices);
    }
    if !status.engines.is_empty() {
        let rows = status.engines.iter().map(|e| {
            let state = match e.state {
                EngineState::Starting => "starting",
                EngineState::Ready if e.pid.is_none() => "absent",
                EngineState::Ready => "ready",
                EngineState::Busy => "busy",
                EngineState::Backoff => "backoff",
                EngineState::Broken => "BROKEN",
            };
            let pid = e.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            vec![Labelled(e.device).to_string(), state.to_owned(), pid, e.last_exit.clone().or_else(|| e.about.clone()).unwrap_or_default()]
        });
        text.push('\n');
        text += &table(&["engine", "state", "pid", "about"], rows);
    }
    if !status.conversions.is_empty() {
        let rows = status.conversions.iter().map(|c| {
            let source = c.source.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let state = if c.running { format!("{:.0}%", c.ratio() * 100.0) } else { "waits".to_owned() };
            let jobs: Vec<String> = c.jobs.iter().map(ToString::to_string).collect();
            vec![source, c.to.to_string(), state, jobs.join(" ")]
        });
        text.push('\n');
        text += &table(&["converting", "to", "done", "for jobs"], rows);
    }
    if !queue.jobs.is_empty() {
        let rows = queue.jobs.iter().map(|job| {
            let doing = match (&job.progress, &job.reason, &job.failure) {
                (Some(p), _, _) => format!("{} {}/{}", p.phase, p.step, p.steps),
                (None, Some(reason), _) => reason.to_string(),
                (None, None, Some(failure)) => head(&failure.message, 40),
                (None, None, None) => String::new(),
            };
            let since = age(status.time.since(job.finished.unwrap_or(job.created)));
            vec![job.job.to_string(), job.state.to_string(), doing, job.spec.set.name.clone(), since, head(&job.spec.prompt, 40)]
        });
        text.push('\n');
        text += &table(&["job", "state", "doing", "model", "age", "prompt"], rows);
    }
    text
}
