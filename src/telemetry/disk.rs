//! File systems that hold models, outputs and state.
//!
//! Only the paths that are asked for are touched: a network share that hangs elsewhere is not our concern,
//! and one that hangs here stops this source's thread alone.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::devices::{DeviceKind, DeviceReading, DiskReading, HostReading, Memory};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::{Bytes, DeviceId, Timestamp};

/// Reads the file systems of given paths; the first path's is the `disk` device.
pub struct DiskProbe {
    paths: Vec<PathBuf>,
    /// What was read from and written to each disk, and when that was looked at.
    before: HashMap<String, (Timestamp, Sectors)>,
}

/// Sectors of 512 bytes, whatever the disk's own are: read and written since boot.
type Sectors = (u64, u64);

/// Looks further apart than this would tell an average of a time that nobody asked about.
const LOOKS_BELONG_TOGETHER: Duration = Duration::from_secs(30);

impl DiskProbe {
    /// Returns a probe for `paths`, which need not exist yet; the first is where models lie.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, before: HashMap::new() }
    }
}

impl DiskProbe {
    /// Adds what was read and written per second since the last look.
    fn measure(&mut self, disk: &mut DiskReading, device: Option<String>, now: Timestamp) {
        let Some(device) = device else { return disk.why = Some("the mounts do not name its disk".to_owned()) };
        let stat = fs::read_to_string(format!("/sys/dev/block/{device}/stat")).ok();
        let Some(sectors) = stat.as_deref().and_then(sectors) else {
            return disk.why = Some("it lies on no disk of its own that counts what is read".to_owned());
        };
        let before = self.before.insert(device, (now, sectors));
        match before.and_then(|(then, before)| rates(before, sectors, now.since(then))) {
            Some((read, written)) => (disk.read_bps, disk.write_bps) = (Some(read), Some(written)),
            None => disk.why = Some("needs two readings".to_owned()),
        }
    }
}

/// Returns what a disk says it has read and written: its third and its seventh number.
fn sectors(stat: &str) -> Option<Sectors> {
    let words: Vec<u64> = stat.split_whitespace().map_while(|word| word.parse().ok()).collect();
    Some((*words.get(2)?, *words.get(6)?))
}

/// Returns bytes per second between two looks, where they lie well apart and the counters were not set back.
fn rates(before: Sectors, now: Sectors, apart: Duration) -> Option<(f64, f64)> {
    const SECTOR: f64 = 512.0;
    let seconds = apart.as_secs_f64();
    if seconds < 0.5 || apart > LOOKS_BELONG_TOGETHER {
        return None;
    }
    let rate = |before: u64, now: u64| Some(now.checked_sub(before)? as f64 * SECTOR / seconds);
    Some((rate(before.0, now.0)?, rate(before.1, now.1)?))
}

impl Probe for DiskProbe {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn read(&mut self, now: Timestamp, _ask: &Ask) -> Sample {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut row = DeviceReading::unknown(DeviceId::Disk, DeviceKind::Disk, "statvfs");
        let mut disks: Vec<DiskReading> = Vec::new();
        let paths = self.paths.clone();
        for (place, path) in paths.iter().enumerate() {
            match disk(path, &mounts) {
                Ok((mut disk, device)) => {
                    if place == 0 {
                        row.name = Some(disk.mount.clone());
                        row.memory = Some(Memory { total: disk.total, used: disk.total.saturating_sub(disk.free), free: disk.free });
                    }
                    if disks.iter().all(|known| known.mount != disk.mount) {
                        self.measure(&mut disk, device, now);
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

/// Returns what a path's file system says of its size, and which disk it lies on.
fn disk(path: &Path, mounts: &str) -> Result<(DiskReading, Option<String>), String> {
    // A folder that is still to be made will lie where its parent lies.
    let there = path.ancestors().find_map(|p| fs::canonicalize(p).ok()).ok_or_else(|| format!("{} does not exist", path.display()))?;
    let space = rustix::fs::statvfs(&there).map_err(|error| format!("{}: {error}", there.display()))?;
    if space.f_blocks == 0 {
        return Err(format!("{}: the file system tells no size", there.display()));
    }
    let mount = mount_of(&there, mounts);
    let device = mount.as_ref().map(|(_, device)| device.clone());
    let reading = DiskReading {
        mount: mount.map_or_else(|| there.display().to_string(), |(point, _)| point),
        total: Bytes(space.f_blocks.saturating_mul(space.f_frsize)),
        // What we may write, not what root could.
        free: Bytes(space.f_bavail.saturating_mul(space.f_frsize)),
        read_bps: None,
        write_bps: None,
        why: None,
        measured: None,
    };
    Ok((reading, device))
}

/// Returns where the file system of `path` is mounted, and the numbers of its disk. The deepest mount holds it, and of two at
/// one place the later.
fn mount_of(path: &Path, mounts: &str) -> Option<(String, String)> {
    let mount = |line: &str| {
        let mut words = line.split(' ');
        let device = words.nth(2)?.to_owned();
        Some((unescape(words.nth(1)?), device))
    };
    let points = mounts.lines().filter_map(mount);
    points.filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| Path::new(point).components().count())
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
            assert_eq!(mount_of(Path::new(path), MOUNTS).map(|(point, _)| point).as_deref(), Some(mount), "{path}");
        }
        assert_eq!(mount_of(Path::new("/data/x"), MOUNTS).unwrap().1, "8:17");
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

    #[test]
    fn what_a_disk_reads_is_counted_between_two_looks() {
        let stat = |read: u64, written: u64| format!("  100 7 {read} 30 50 9 {written} 20 0 40 60\n");
        let (before, now) = (sectors(&stat(2000, 10)).unwrap(), sectors(&stat(6000, 20)).unwrap());
        assert_eq!(rates(before, now, Duration::from_secs(2)), Some((1_024_000.0, 2560.0)));
        assert_eq!(rates(before, now, Duration::from_millis(10)), None);
        assert_eq!(rates(before, now, Duration::from_mins(10)), None, "nobody looked for long");
        assert_eq!(rates(now, before, Duration::from_secs(2)), None, "another disk has the number");
        assert_eq!(sectors("1 2"), None);
    }
}
