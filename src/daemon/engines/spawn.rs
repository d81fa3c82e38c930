//! Starts a process of ours, an engine or a converter, and sees it end. The only place of the daemon that starts processes.

#![expect(unsafe_code, reason = "the child's signal at its parent's death can only be set between fork and exec")]
#![expect(clippy::disallowed_methods, reason = "this is the one place where engines are started")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_parent_process_death_signal, waitid};
use tokio::sync::oneshot;

use super::output_lines::{Tail, follow};

/// What to start.
#[derive(Debug, Clone)]
pub struct SpawnSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// What its lines in the log go by: the device of an engine, or what else it is.
    pub source: String,
    /// Variables that are set for it; `None` is one that it must not see.
    pub environment: Vec<(&'static str, Option<&'static str>)>,
}

/// A process that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Our end of the socket that is its standard input.
    pub socket: UnixStream,
    /// Kills it.
    pub process: Process,
    /// How it ended, once it has.
    pub exit: oneshot::Receiver<String>,
    /// What it wrote last.
    pub tail: Tail,
}

/// Kills a process and all it has started. Dropped, it does so too.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// Whether the process is there, or its number still its own.
    alive: Arc<Mutex<bool>>,
}

impl Process {
    /// Returns its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// Kills it, unless it is gone.
    pub fn kill(&self) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive && let Err(errno) = kill_process_group(self.pid, Signal::KILL) {
            tracing::warn!("process {} could not be killed: {errno}", self.pid());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long what a process wrote is waited for after its end. On a busy machine its readers need a while; it takes this long only
/// where something that the process has left behind, in a group of its own, keeps the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Starts a process. Call it from a thread that lives as long as the daemon: the process dies with that thread.
pub fn spawn(spec: &SpawnSpec) -> io::Result<Spawned> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&spec.program);
    command.args(spec.arguments);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for (name, value) in &spec.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this closure makes one
    // system call, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let tail = Tail::default();
    let (done, heard_all) = std::sync::mpsc::channel::<()>();
    let outputs: [Option<Box<dyn io::Read + Send>>; 2] =
        [child.stdout.take().map(|o| Box::new(o) as _), child.stderr.take().map(|o| Box::new(o) as _)];
    for from in outputs.into_iter().flatten() {
        let (tail, done, source) = (tail.clone(), done.clone(), spec.source.clone());
        thread::Builder::new().name(format!("output of {source}")).spawn(move || {
            follow(from, &source, &tail);
            drop(done);
        })?;
    }
    drop(done);
    let alive = Arc::new(Mutex::new(true));
    let (tell, exit) = oneshot::channel();
    let still = alive.clone();
    thread::Builder::new().name(format!("end of {}", spec.source)).spawn(move || {
        let how = see_it_end(child, pid, &still);
        if !wait_for_readers(&heard_all, LAST_WORDS) {
            tracing::debug!("the output of process {pid:?} is held open by something else");
        }
        // Nobody listens when the daemon ends.
        drop(tell.send(how));
    })?;
    Ok(Spawned { socket: ours, process: Process { pid, alive }, exit, tail })
}

/// Waits until all who read the output have let go of their senders; returns whether they have.
fn wait_for_readers(heard_all: &Receiver<()>, patience: Duration) -> bool {
    heard_all.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
}

/// Waits for the end of the process, ends what it has left behind, and only then gives up its number.
fn see_it_end(mut child: Child, pid: Pid, alive: &Mutex<bool>) -> String {
    let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let mut alive = alive.lock().unwrap_or_else(PoisonError::into_inner);
    if waited.is_ok()
        && let Err(errno) = kill_process_group(pid, Signal::KILL)
    {
        tracing::debug!("nothing was left of process {pid:?}: {errno}");
    }
    *alive = false;
    match child.wait() {
        Ok(status) => describe(status),
        Err(error) => format!("is gone, and nobody knows how: {error}"),
    }
}

/// Returns how a process ended, in words that follow "the engine" or "the converter".
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}{}", name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

/// Signals that operators know by name.
fn name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_a_slow_reader_still_reads_is_heard() {
        let (done, heard_all) = channel();
        assert!(!wait_for_readers(&heard_all, Duration::ZERO), "somebody reads still");
        let tail = Tail::default();
        let heard = tail.clone();
        let end = thread::spawn(move || wait_for_readers(&heard_all, Duration::from_mins(1)).then(|| heard.lines()));
        // One of two readers is as slow as can be.
        drop(done.clone());
        follow(&b"out of memory\n"[..], "cpu", &tail);
        drop(done);
        assert_eq!(end.join().unwrap().unwrap(), ["out of memory"]);
    }
}
