//! File systems that hold models, outputs and state.
//!
//! Only the paths that are asked for are touched: a network share that hangs elsewhere is not our concern,
//! and one that hangs here stops this source's thread alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::devices::{DeviceKind, DeviceReading, DiskReading, HostReading, Memory};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::{Bytes, DeviceId, Timestamp};

/// Reads the file systems of given paths; the first path's is the `disk` device.
pub struct DiskProbe {
    paths: Vec<PathBuf>,
}

impl DiskProbe {
    /// Returns a probe for `paths`, which need not exist yet; the first is where models lie.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }
}

impl Probe for DiskProbe {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn read(&mut self, _now: Timestamp, _ask: &Ask) -> Sample {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut row = DeviceReading::unknown(DeviceId::Disk, DeviceKind::Disk, "statvfs");
        let mut disks: Vec<DiskReading> = Vec::new();
        for (place, path) in self.paths.iter().enumerate() {
            match disk(path, &mounts) {
                Ok(disk) => {
                    if place == 0 {
                        row.name = Some(disk.mount.clone());
                        row.memory = Some(Memory { total: disk.total, used: disk.total.saturating_sub(disk.free), free: disk.free });
                    }
                    if disks.iter().all(|known| known.mount != disk.mount) {
                        disks.push(disk);
                    }
                }
                Err(reason) if place == 0 => {
                    row.why.insert("memory".to_owned(), reason);
                }
                Err(reason) => tracing::debug!(path = %path.display(), reason, "cannot read a file system"),
            }
        }
        row.explain_absent("a file system has no such value");
        Sample { devices: vec![row], host: HostReading { disks, ..HostReading::default() } }
    }

    fn good_for(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn disk(path: &Path, mounts: &str) -> Result<DiskReading, String> {
    // A folder that is still to be made will lie where its parent lies.
    let there = path.ancestors().find_map(|p| fs::canonicalize(p).ok()).ok_or_else(|| format!("{} does not exist", path.display()))?;
    let space = rustix::fs::statvfs(&there).map_err(|error| format!("{}: {error}", there.display()))?;
    if space.f_blocks == 0 {
        return Err(format!("{}: the file system tells no size", there.display()));
    }
    Ok(DiskReading {
        mount: mount_of(&there, mounts).unwrap_or_else(|| there.display().to_string()),
        total: Bytes(space.f_blocks.saturating_mul(space.f_frsize)),
        // What we may write, not what root could.
        free: Bytes(space.f_bavail.saturating_mul(space.f_frsize)),
    })
}

/// Returns where the file system of `path` is mounted. The deepest mount holds it, and of two at one place the later.
fn mount_of(path: &Path, mounts: &str) -> Option<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    points.filter(|point| path.starts_with(point)).max_by_key(|point| Path::new(point).components().count())
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        30 22 8:17 / /data rw - xfs /dev/sdb1 rw\n\
        31 30 8:18 / /data/my\\040models rw - xfs /dev/sdb2 rw\n";

    #[test]
    fn the_deepest_mount_holds_a_path() {
        for (path, mount) in [
            ("/home/ada", "/"),
            ("/data/x", "/data"),
            ("/database", "/"),
            ("/data/my models/flux", "/data/my models"),
            ("/data/my models", "/data/my models"),
        ] {
            assert_eq!(mount_of(Path::new(path), MOUNTS).as_deref(), Some(mount), "{path}");
        }
        assert_eq!(mount_of(Path::new("/x"), ""), None);
    }

    #[test]
    fn a_folder_still_to_be_made_lies_where_its_parent_does() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("models/flux");
        let sample = DiskProbe::new(vec![missing, folder.path().to_owned()]).read(Timestamp(0), &Ask::default());
        assert_eq!(sample.host.disks.len(), 1, "one file system, one line");
        let row = &sample.devices[0];
        let memory = row.memory.unwrap();
        assert!(memory.total > Bytes::ZERO && memory.free <= memory.total);
        assert!(row.absent().iter().all(|name| row.why.contains_key(*name)));
    }

    #[test]
    fn no_path_no_value() {
        let sample = DiskProbe::new(vec![]).read(Timestamp(0), &Ask::default());
        assert_eq!(sample.devices[0].memory, None);
        assert!(sample.host.disks.is_empty());
    }
}
