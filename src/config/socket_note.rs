//! Where the daemon of a state folder really listens: a client with another `XDG_RUNTIME_DIR` would look elsewhere.
//!
//! The note is a hint and no more. Whoever follows it checks the folder and whom it meets there, as in the usual place.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Paths;

/// Longer than any path of a socket.
const LONGEST: u64 = 4096;

/// Notes where the daemon listens. What was noted before is gone, also where this cannot be written.
pub fn write(paths: &Paths, socket: &Path) -> io::Result<()> {
    remove(paths)?;
    let path = paths.socket_note();
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
        file.write_all(socket.as_os_str().as_encoded_bytes())?;
        file.write_all(b"\n")
    });
    // Half a path leads nowhere.
    written.map_err(|error| remove(paths).err().unwrap_or(error))
}

/// Removes the note, if there is one.
pub fn remove(paths: &Paths) -> io::Result<()> {
    match fs::remove_file(paths.socket_note()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns where the daemon has noted that it listens. A note of somebody else's is none.
#[must_use]
pub fn read(paths: &Paths) -> Option<PathBuf> {
    let file = OpenOptions::new().read(true).custom_flags(no_link()).open(paths.socket_note()).ok()?;
    if file.metadata().ok()?.uid() != rustix::process::getuid().as_raw() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let path = PathBuf::from(text.strip_suffix('\n')?);
    path.is_absolute().then_some(path)
}

/// A link may lead to anything, a pipe among it.
fn no_link() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn what_is_noted_is_read_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::of(&Environment::made_of(&[], "/home/ana"), Some(home.path())).unwrap();
        fs::create_dir(&paths.state).unwrap();
        assert_eq!(read(&paths), None);
        write(&paths, Path::new("/run/user/7/perilune/daemon.sock")).unwrap();
        write(&paths, Path::new("/run/user/8/perilune/daemon.sock")).unwrap();
        assert_eq!(read(&paths), Some("/run/user/8/perilune/daemon.sock".into()));
        for half in ["", "/run/user/8/peri", "run/daemon.sock\n"] {
            fs::write(paths.socket_note(), half).unwrap();
            assert_eq!(read(&paths), None, "{half:?}");
        }
        remove(&paths).unwrap();
        std::os::unix::fs::symlink("/dev/zero", paths.socket_note()).unwrap();
        assert_eq!(read(&paths), None);
        remove(&paths).unwrap();
        remove(&paths).unwrap();
    }
}
