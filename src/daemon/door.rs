//! Where clients come in: the socket, and the note that tells where it lies.
//!
//! A runtime folder is not the daemon's alone: it may be wiped, or taken away when the operator logs out. The socket is then made
//! anew where it was, or beside the ledger where that cannot be, and the note says where.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::lifecycle::REMNANT;
use crate::config::{Paths, private_folder, socket_note};
use crate::wire::hello::HelloFrame;
use crate::wire::{Limit, blocking};
use crate::workflow::{Kind, Refusal};

/// What keeps the socket where clients find it.
#[derive(Debug)]
pub struct Door {
    paths: Paths,
    /// Where the socket lies.
    path: PathBuf,
    /// Whether it was told that the socket cannot be made anew.
    told: bool,
}

impl Door {
    /// Listens in the usual place, and notes it.
    pub(super) fn open(paths: &Paths) -> Result<(Self, UnixListener), Refusal> {
        let door = Self { paths: paths.clone(), path: paths.socket(), told: false };
        let listener = bind(&door.path)?;
        door.note();
        Ok((door, listener))
    }

    /// Listens anew if the socket has vanished; returns where to listen from now on.
    pub fn mend(&mut self) -> Option<UnixListener> {
        let gone = self.path.symlink_metadata().is_err_and(|e| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
        if !gone {
            return None;
        }
        let usual = bind(&self.paths.socket()).map(|listener| (self.paths.socket(), listener));
        let bound = usual.or_else(|_| bind(&self.paths.second_socket()).map(|listener| (self.paths.second_socket(), listener)));
        match bound {
            Ok((path, listener)) => {
                tracing::warn!("{} has vanished; clients come in at {}", self.path.display(), path.display());
                (self.path, self.told) = (path, false);
                self.note();
                Some(listener)
            }
            Err(refusal) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::error!("{} has vanished, and no client can come in: {}", self.path.display(), refusal.message);
                }
                None
            }
        }
    }

    /// Without the note, clients look in the usual place, as most of them do first.
    fn note(&self) {
        if let Err(error) = socket_note::write(&self.paths, &self.path) {
            tracing::warn!("{} cannot be written: {error}", self.paths.socket_note().display());
        }
    }
}

/// Removes what tells clients where to come in.
pub(super) fn close(paths: &Paths) {
    let sockets = [paths.socket(), paths.second_socket()].map(|path| (fs::remove_file(&path), path));
    let note = (socket_note::remove(paths), paths.socket_note());
    for (removed, path) in sockets.into_iter().chain([note]) {
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => tracing::warn!("{} could not be removed: {error}", path.display()),
            Ok(()) | Err(_) => {}
        }
    }
}

fn bind(path: &Path) -> Result<UnixListener, Refusal> {
    let io = |error: io::Error| {
        let hint = "check the folder's permissions, or set PERILUNE_HOME to one of your own";
        Refusal::new(Kind::Failed, format!("{} cannot be listened on: {error}", path.display()), hint)
    };
    if let Some(folder) = path.parent() {
        private_folder::make(folder).map_err(|e| e.refusal(Kind::Failed))?;
    }
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

    #[test]
    fn a_socket_that_vanished_is_made_anew_where_it_was_or_beside_the_ledger() {
        let home = tempfile::tempdir().unwrap();
        let runtime = home.path().join("user/7");
        let variables = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
        let paths = Paths::of(&Environment::made_of(&variables, home.path().to_str().unwrap()), None).unwrap();
        fs::create_dir_all(&paths.state).unwrap();
        let (mut door, _first) = Door::open(&paths).unwrap();
        assert!(door.mend().is_none(), "it is there");
        assert_eq!(socket_note::read(&paths), Some(paths.socket()));

        fs::remove_dir_all(&runtime).unwrap();
        let _second = door.mend().unwrap();
        assert_eq!(fs::metadata(paths.socket()).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(paths.socket()).unwrap();

        // What nobody may make a folder in.
        fs::remove_dir_all(home.path().join("user")).unwrap();
        fs::write(home.path().join("user"), "").unwrap();
        let _third = door.mend();
        let second = home.path().join(".local/state/perilune/run/daemon.sock");
        assert_eq!(socket_note::read(&paths), Some(second.clone()));
        UnixStream::connect(&second).unwrap();
        close(&paths);
        assert!(!second.exists() && socket_note::read(&paths).is_none());
    }
}
