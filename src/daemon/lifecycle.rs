//! One daemon at a time: the lock, the socket, and what is in their way.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::config::{Paths, private_folder};
use crate::workflow::{Kind, Refusal};

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
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(already_running(&mut file)),
        Err(errno) => return Err(io(errno.into())),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io)?;
    Ok(file)
}

fn already_running(file: &mut File) -> Refusal {
    let mut text = String::new();
    // Without a number the message is still true.
    drop(file.take(32).read_to_string(&mut text));
    let pid: Option<u32> = text.trim().parse().ok();
    let who = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
    Refusal::new(Kind::Failed, format!("a daemon already runs{who}"), "`perilune status` shows it; `perilune stop` ends it")
}

fn bind(path: &Path) -> Result<UnixListener, Refusal> {
    let io = |error: io::Error| {
        let hint = "check the folder's permissions, or set PERILUNE_HOME to one of your own";
        Refusal::new(Kind::Failed, format!("{} cannot be listened on: {error}", path.display()), hint)
    };
    if path.symlink_metadata().is_ok() {
        // Our lock says that no daemon keeps its ledger where we do; one may use the same socket all the same.
        if UnixStream::connect(path).is_ok() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

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
        let refusal = claim(&paths).unwrap_err();
        assert!(refusal.message.starts_with("another daemon listens on "), "{refusal}");
        drop(other);
        drop(claim(&paths).unwrap());
    }
}
