//! `perilune stop`: ends the daemon in order, also one of another build, and one that hangs.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::cli::context::Context;
use crate::client::holder::{daemon_pid, is_free};
use crate::client::{Client, Gate, NOBODY, Place};
use crate::config::Paths;
use crate::wire::Request;
use crate::workflow::{Kind, Refusal};

/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Ends the daemon.
pub(super) fn stop(context: &Context) -> Result<(), Refusal> {
    let gate = Gate { spawn: false, ..context.gate() };
    let asked = context.wait_for(async {
        let ask = async {
            let mut daemon = Client::connect(&gate).await.map_err(nothing_to_stop)?;
            daemon.call(Request::Stop).await?;
            daemon.hung_up().await;
            Ok::<_, Refusal>(())
        };
        let silent = Refusal::bare(Kind::NoDaemon, "the daemon does not answer");
        tokio::time::timeout(ANSWER + PATIENCE, ask).await.unwrap_or(Err(silent))
    });
    if let Place::Host(_) = context.place {
        asked?;
    } else {
        match (asked, daemon_pid(&gate.paths)) {
            (Ok(()), _) => wait_for_end(&gate.paths)?,
            // Of another build, or hung: a signal is understood by all.
            (Err(_), Some(pid)) => {
                kill_process(pid, Signal::TERM).map_err(|e| {
                    Refusal::new(
                        Kind::Failed,
                        format!("the daemon, pid {}, cannot be ended: {e}", pid.as_raw_pid()),
                        "it may be another user's",
                    )
                })?;
                wait_for_end(&gate.paths)?;
            }
            (Err(refusal), None) => return Err(refusal),
        }
    }
    context.output.show(&json!({"stopped": true}), || "the daemon has ended\n".to_owned());
    Ok(())
}

/// Who wants to stop a daemon does not want to start one.
fn nothing_to_stop(refusal: Refusal) -> Refusal {
    let hint = "there is nothing to stop; --home names the folder of another daemon".to_owned();
    if refusal.message == NOBODY { Refusal { hint: Some(hint), ..refusal } } else { refusal }
}

fn wait_for_end(paths: &Paths) -> Result<(), Refusal> {
    let deadline = Instant::now() + PATIENCE;
    while !is_free(paths) {
        if Instant::now() > deadline {
            let message = format!("the daemon has not ended within {} s", PATIENCE.as_secs());
            return Err(Refusal::new(
                Kind::Failed,
                message,
                "it may hang; `kill -9` with the number in daemon.lock ends it, and its jobs wait for the next one",
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
