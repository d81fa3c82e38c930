//! Starts a daemon where there is none, and waits until it answers.
//!
//! Clients that start one at the same time take turns: the second finds the daemon of the first. The
//! daemon says that it is ready by a line on its standard output, which is our pipe; only one that runs and does not listen is polled.

#![expect(clippy::disallowed_methods, reason = "this is the one place where daemons are started")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{knock, unreachable};
use super::gate::Gate;
use super::holder;
use crate::config::private_folder;
use crate::workflow::{Kind, Refusal};

/// Until a daemon must be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a daemon that runs may take to listen: it looks after its socket every second.
const DOOR: Duration = Duration::from_secs(4);
/// The line a daemon says when clients can come.
pub const READY: &str = "ready";

/// Starts a daemon, unless another client just has, and connects to it.
pub(super) async fn start(gate: &Gate) -> Result<UnixStream, Refusal> {
    private_folder::make(&gate.paths.runtime).map_err(|e| e.refusal(Kind::NoDaemon))?;
    let path = gate.paths.start_lock();
    let locked = timeout(PATIENCE, spawn_blocking(move || lock(&path))).await;
    // Held until we are connected, so that the next client finds the daemon.
    let _turn = match locked {
        Ok(Ok(Ok(file))) => file,
        Ok(Ok(Err(error))) => return Err(failed(&format!("the start could not be locked: {error}"))),
        Ok(Err(_)) | Err(_) => return Err(failed("another client has been starting one for too long")),
    };
    if let Some(socket) = knock(gate).await? {
        return Ok(socket);
    }
    if let Some(socket) = wait_for_door(gate).await? {
        return Ok(socket);
    }
    let mut command = command(gate)?;
    let said = timeout(PATIENCE, spawn_blocking(move || spawn_and_listen(&mut command))).await;
    match said {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(refusal))) => {
            // Somebody has started one by hand in the meantime.
            return knock(gate).await?.ok_or(refusal);
        }
        Ok(Err(_)) | Err(_) => return Err(failed(&format!("it was not ready within {} s", PATIENCE.as_secs()))),
    }
    knock(gate).await?.ok_or_else(|| failed("it was ready and has ended since"))
}

/// Where a daemon runs that does not listen, it has only begun to, or will make its socket anew; another could not start.
async fn wait_for_door(gate: &Gate) -> Result<Option<UnixStream>, Refusal> {
    let deadline = Instant::now() + DOOR;
    while let Some(pid) = holder::daemon_pid(&gate.paths) {
        if let Some(socket) = knock(gate).await? {
            return Ok(Some(socket));
        }
        if Instant::now() > deadline {
            return Err(unreachable(gate, pid));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(None)
}

fn failed(problem: &str) -> Refusal {
    Refusal::new(Kind::NoDaemon, format!("no daemon could be started: {problem}"), "`perilune serve` shows what keeps it from starting")
}

fn lock(path: &std::path::Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn command(gate: &Gate) -> Result<Command, Refusal> {
    let program = gate.program.as_ref().ok_or_else(|| failed("this program cannot find its own file"))?;
    let mut command = Command::new(program);
    command.args(["serve", "--detached"]).envs(gate.environment.iter().map(|(name, value)| (name, value)));
    // A daemon must not keep somebody's folder from being unmounted.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

/// Starts the daemon and waits for its first line.
fn spawn_and_listen(command: &mut Command) -> Result<(), Refusal> {
    let mut child = command.spawn().map_err(|e| failed(&e.to_string()))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // A line that cannot be read is an empty one.
        drop(BufReader::new(stdout.take(64 << 10)).read_line(&mut line));
    }
    // It lives on without us; should it end before we do, somebody must take note of it.
    drop(std::thread::spawn(move || child.wait()));
    if line.trim_end() == READY {
        return Ok(());
    }
    let refusal: Option<Refusal> = serde_json::from_str(&line).ok();
    Err(match refusal {
        Some(refusal) => Refusal { kind: Kind::NoDaemon, message: format!("no daemon could be started: {}", refusal.message), ..refusal },
        None => failed("it ended before it was ready"),
    })
}
