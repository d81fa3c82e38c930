//! One daemon at a time: the lock, and who is in its way.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::door::{self, Door};
use crate::config::{Paths, private_folder};
use crate::workflow::{Kind, Refusal};

/// A daemon that is killed while it starts an engine leaves a child that is not the engine yet, and that
/// holds lock and socket for a moment more.
pub(super) const REMNANT: Duration = Duration::from_secs(2);

/// What a daemon has as its only one.
#[derive(Debug)]
pub struct Claim {
    /// Where clients come in.
    pub listener: UnixListener,
    /// What looks after it.
    pub door: Door,
    /// What it holds as long as it lives.
    pub held: Held,
}

/// The lock; with it, socket and note go.
#[derive(Debug)]
pub struct Held {
    paths: Paths,
    _lock: File,
}

/// Makes this process the only daemon, or says who is.
pub fn claim(paths: &Paths) -> Result<Claim, Refusal> {
    private_folder::make(&paths.runtime).map_err(|e| e.refusal(Kind::Failed))?;
    let lock = lock(&paths.lock())?;
    let (door, listener) = Door::open(paths)?;
    Ok(Claim { listener, door, held: Held { paths: paths.clone(), _lock: lock } })
}

impl Drop for Held {
    fn drop(&mut self) {
        // The lock is still ours, so these are still our socket and our note of it.
        door::close(&self.paths);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Environment, socket_note};
    use crate::wire::{Hello, Limit, blocking};

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
        assert_eq!(socket_note::read(&paths), None);
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
