//! Carries the conversation to another machine: `ssh user@box perilune bridge`.

#![expect(clippy::disallowed_methods, reason = "this is the one place where ssh is started")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;

use super::connect::Connection;
use super::gate::Gate;
use crate::workflow::{Kind, Refusal};

/// Lines of ssh's complaints that are kept.
const WORDS: usize = 20;

/// The process that carries the conversation. Dropped, it is ended.
#[derive(Debug)]
pub struct Carrier {
    child: Child,
    words: Arc<Mutex<VecDeque<String>>>,
    /// Hangs up when all is heard.
    heard_all: Mutex<Receiver<()>>,
}

/// How long the last words of a lost connection are waited for.
const PATIENCE: Duration = Duration::from_millis(300);

impl Carrier {
    /// Returns the last line that it complained with, once its end of the conversation is closed.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        let heard_all = self.heard_all.lock().unwrap_or_else(PoisonError::into_inner);
        if heard_all.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!("ssh has closed the conversation and still runs");
        }
        self.words.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // It may be gone already, which is all we want.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts ssh; the daemon at the other end has not greeted yet.
pub(super) fn connect(gate: &Gate, host: &str) -> Result<Connection, Refusal> {
    let failed = |problem: String| {
        Refusal::new(Kind::NoDaemon, format!("{host} cannot be reached: {problem}"), format!("check that `ssh {host}` works"))
    };
    // What looks like a flag would be taken for one.
    if host.starts_with('-') || host.is_empty() {
        return Err(Refusal::new(Kind::Usage, format!("`{host}` is no host"), "write --host user@box"));
    }
    let words = shlex::split(&gate.ssh).filter(|w| !w.is_empty());
    let words = words.ok_or_else(|| failed(format!("`{}` is no command", gate.ssh)))?;
    // Ctrl-C is for us alone, to cancel a job over the connection that ssh carries; what is ignored before `exec` stays so.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" INT; exec "$@""#, "sh"]).args(&words).args(["-T", host, "perilune", "bridge"]);
    if !gate.spawn {
        command.arg("--no-spawn");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(format!("{}: {e}", words[0])))?;
    let ends = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = ends else { return Err(failed("it has no pipes".to_owned())) };
    let heard = Arc::new(Mutex::new(VecDeque::new()));
    let hears = heard.clone();
    let (done, heard_all) = channel::<()>();
    // Ends with the process, whose pipe it is.
    drop(std::thread::spawn(move || {
        let _done = done;
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut words = hears.lock().unwrap_or_else(PoisonError::into_inner);
            if words.len() == WORDS {
                words.pop_front();
            }
            words.push_back(line);
        }
    }));
    let carrier = Carrier { child, words: heard, heard_all: Mutex::new(heard_all) };
    let to = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(|e| failed(e.to_string()))?;
    let from = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(|e| failed(e.to_string()))?;
    Ok(Connection { from: Box::new(from), to: Box::new(to), carrier: Some(carrier) })
}
