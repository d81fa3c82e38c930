//! One daemon at a time: the lock, the socket, and what is in their way.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::config::{Paths, private_folder};
use crate::wire::hello::HelloFrame;
use crate::wire::{Limit, blocking};
use crate::workflow::{Kind, Refusal};

/// A daemon that is killed while it starts an engine leaves a child that is not the engine yet, and that
/// holds lock and socket for a moment more.
const REMNANT: Duration = Duration::from_secs(2);

/// What a daemon holds as long as it lives.
#[derive(Debug)]
pub struct Claim {
    /// Where clients come in.
    pub listener: UnixListener,
    socket: PathBuf,
    _lock: File,
}

/// Makes this process the only daemon, or says who is.
pub fn claim(paths: &Paths) -> Result<Claim, Refusal> {
    private_folder::make(&paths.runtime).map_err(|e| e.refusal(Kind::Failed))?;
    let lock = lock(&paths.lock())?;
    let socket = paths.socket();
    let listener = bind(&socket)?;
    Ok(Claim { listener, socket, _lock: lock })
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is still ours, so this is still our socket.
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::warn!("{} could not be removed: {error}", self.socket.display());
        }
    }
}

fn lock(path: &Path) -> Result<File, Refusal> {
    let io = |error: io::Error| {
        let hint = "check the folder's permissions, or set PERILUNE_HOME to one of your own";
        Refusal::new(Kind::Failed, format!("{} cannot be locked: {error}", path.display()), hint)
    };
    if let Some(folder) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(io)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    let deadline = Instant::now() + REMNANT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(&mut file);
                if holder.is_none_or(is_alive) || Instant::now() > deadline {
                    return Err(already_running(holder));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(errno) => return Err(io(errno.into())),
        }
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io)?;
    Ok(file)
}

/// Returns who says to hold the lock.
fn holder(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(32).read_to_string(&mut text)).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid) != Err(Errno::SRCH)
}

fn already_running(holder: Option<Pid>) -> Refusal {
    let who = holder.map_or_else(String::new, |pid| format!(", pid {}", pid.as_raw_pid()));
    Refusal::new(Kind::Failed, format!("a daemon already runs{who}"), "`perilune status` shows it; `perilune stop` ends it")
}

fn bind(path: &Path) -> Result<UnixListener, Refusal> {
    let io = |error: io::Error| {
        let hint = "check the folder's permissions, or set PERILUNE_HOME to one of your own";
        Refusal::new(Kind::Failed, format!("{} cannot be listened on: {error}", path.display()), hint)
    };
    if path.symlink_metadata().is_ok() {
        // Our lock says that no daemon keeps its ledger where we do; one may use the same socket all the same.
        if somebody_greets(path) {
            let hint = "end it, or set PERILUNE_HOME to keep the two apart";
            return Err(Refusal::new(Kind::Failed, format!("another daemon listens on {}", path.display()), hint));
        }
        fs::remove_file(path).map_err(io)?;
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    Ok(listener)
}

/// A daemon greets whoever comes. The remnant of a dead one does not, though it can be connected to.
fn somebody_greets(path: &Path) -> bool {
    let greeted = UnixStream::connect(path).and_then(|mut socket| {
        socket.set_read_timeout(Some(REMNANT))?;
        blocking::read::<HelloFrame>(&mut socket, Limit::CONTROL).map_err(io::Error::other)
    });
    greeted.is_ok_and(|hello| hello.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::wire::Hello;

    fn paths(home: &Path) -> Paths {
        Paths::of(&Environment::made_of(&[], "/home/ana"), Some(home)).unwrap()
    }

    #[test]
    fn there_is_one_daemon() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let claimed = claim(&paths).unwrap();
        let refusal = claim(&paths).unwrap_err();
        assert_eq!(refusal.message, format!("a daemon already runs, pid {}", std::process::id()));
        assert_eq!(fs::metadata(paths.socket()).unwrap().permissions().mode() & 0o777, 0o600);
        drop(claimed);
        assert!(!paths.socket().exists());
        drop(claim(&paths).unwrap());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        private_folder::make(&paths.runtime).unwrap();
        let other = UnixListener::bind(paths.socket()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| blocking::write(&mut other.accept().unwrap().0, &Hello::ours(), Limit::CONTROL).unwrap());
            let refusal = claim(&paths).unwrap_err();
            assert!(refusal.message.starts_with("another daemon listens on "), "{refusal}");
        });
        drop(other);
        drop(claim(&paths).unwrap());
    }

    #[test]
    fn what_a_dead_daemon_s_child_still_holds_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        fs::create_dir(&paths.state).unwrap();
        // No process has this number: it is above what Linux gives out.
        fs::write(paths.lock(), "2147483647\n").unwrap();
        let remnant = File::open(paths.lock()).unwrap();
        flock(&remnant, FlockOperation::LockExclusive).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                drop(remnant);
            });
            drop(claim(&paths).unwrap());
        });
    }
}
