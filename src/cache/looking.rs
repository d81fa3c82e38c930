//! Looks at many files of one folder, without walking to the folder for each.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, open, statat};

/// A folder that was opened to look at what lies in it.
#[derive(Debug)]
pub(super) struct Opened(OwnedFd);

impl Opened {
    /// Opens a folder; nothing where it is none, or gone.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok().map(Self)
    }

    /// Returns what the file system says of the file of this name, where there is one.
    pub(super) fn look_at(&self, name: &str) -> Option<Stat> {
        statat(&self.0, name, AtFlags::empty()).ok()
    }
}
