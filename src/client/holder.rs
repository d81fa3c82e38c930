//! Who holds the lock of the daemon: one that cannot be reached, or one that nobody has.

use std::fs::{self, OpenOptions};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::config::Paths;

/// Returns the daemon that runs with these files.
#[must_use]
pub fn daemon_pid(paths: &Paths) -> Option<Pid> {
    // A lock that somebody holds has a number in it from its first moment on, or soon after.
    let text = fs::read_to_string(paths.lock()).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // The lock is tried last: a daemon that starts just now must not find it with us.
    (test_kill_process(pid) != Err(Errno::SRCH) && !is_free(paths)).then_some(pid)
}

/// Whether no daemon holds the lock.
#[must_use]
pub fn is_free(paths: &Paths) -> bool {
    // Nobody holds a lock on a file that is not there. Ours goes with the file.
    OpenOptions::new().read(true).open(paths.lock()).map_or(true, |file| flock(&file, FlockOperation::NonBlockingLockShared).is_ok())
}
