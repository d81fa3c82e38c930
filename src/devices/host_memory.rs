//! The host's memory: what the machine has, or less where a container or a service's limit allows less.
//!
//! Groups of processes lie in one another, and each may have a limit, so all above ours are looked at. Pages of files count
//! towards a limit but are given back under pressure, and mapped weights are such pages: they are free.

use std::path::{Path, PathBuf};

use super::Memory;
use crate::units::Bytes;

/// Returns what may be had of the host's memory, by what the kernel's files say that `read` reads; `None` where they do not.
#[must_use]
pub fn host_memory(read: impl Fn(&Path) -> Option<String>) -> Option<Memory> {
    let whole = machine(&read(Path::new("/proc/meminfo"))?)?;
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    Some(groups_of(&groups).iter().filter_map(|group| group.limit(&read)).fold(whole, |memory, (limit, used)| memory.within(limit, used)))
}

fn machine(meminfo: &str) -> Option<Memory> {
    let of = |what: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(what))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok().map(Bytes::kib)
    };
    let (total, free) = (of("MemTotal:")?, of("MemAvailable:")?);
    Some(Memory { total, used: total.saturating_sub(free), free })
}

/// A group of processes, and the names of the files that tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    limit: &'static str,
    held: &'static str,
    /// Lines of `memory.stat` that count pages of files.
    given_back: [&'static str; 2],
}

/// Returns the groups that `/proc/self/cgroup` names, and all above them: of the second version in one hierarchy, of the first
/// in that of the memory controller.
fn groups_of(text: &str) -> Vec<Group> {
    text.lines().filter_map(of_line).flatten().collect()
}

fn of_line(line: &str) -> Option<Vec<Group>> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_memory = controllers.split(',').any(|c| c == "memory");
    let (root, limit, held, given_back) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max", "memory.current", ["inactive_file", "active_file"])
    } else if is_memory {
        let lines = ["total_inactive_file", "total_active_file"];
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", lines)
    } else {
        return None;
    };
    // Seen from inside a container the names of groups outside of it are no folders: those are skipped.
    let folders = Path::new(path.trim_start_matches('/')).ancestors().map(|p| Path::new(root).join(p));
    Some(folders.map(|folder| Group { folder, limit, held, given_back }).collect())
}

impl Group {
    /// Returns how much the group may hold, and how much it holds that it cannot give back. `None` where it has no limit.
    fn limit(&self, read: &impl Fn(&Path) -> Option<String>) -> Option<(Bytes, Bytes)> {
        let number = |name: &str| read(&self.folder.join(name))?.trim().parse::<u64>().ok();
        // `max` is no number; the first version writes a huge one.
        let (limit, held) = (number(self.limit)?, number(self.held)?);
        let stat = read(&self.folder.join("memory.stat")).unwrap_or_default();
        let lines = stat.lines().filter_map(|l| l.split_once(' ')).filter(|(name, _)| self.given_back.contains(name));
        let files: u64 = lines.filter_map(|(_, n)| n.trim().parse::<u64>().ok()).sum();
        Some((Bytes(limit), Bytes(held.saturating_sub(files))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn within(cgroup: &str, files: &[(&str, String)]) -> Memory {
        let files: HashMap<&Path, &String> = files.iter().map(|(path, text)| (Path::new(*path), text)).collect();
        let read = |path: &Path| files.get(path).map(|text| (*text).clone());
        let whole = Memory { total: Bytes::gib(64), used: Bytes::gib(24), free: Bytes::gib(40) };
        groups_of(cgroup).iter().filter_map(|g| g.limit(&read)).fold(whole, |memory, (limit, used)| memory.within(limit, used))
    }

    #[test]
    fn the_tightest_of_all_groups_counts() {
        let stat = |files: u64| format!("anon 1\nfile 2\ninactive_file {files}\nactive_file 0\nfile_mapped 9\n");
        let files = [
            ("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n".to_owned()),
            ("/sys/fs/cgroup/a.slice/b.service/memory.current", "7\n".to_owned()),
            ("/sys/fs/cgroup/a.slice/memory.max", format!("{}\n", 8 * GIB)),
            ("/sys/fs/cgroup/a.slice/memory.current", format!("{}\n", 7 * GIB)),
            ("/sys/fs/cgroup/a.slice/memory.stat", stat(4 * GIB)),
        ];
        let memory = within("0::/a.slice/b.service\n", &files);
        assert_eq!((memory.total, memory.used, memory.free), (Bytes::gib(8), Bytes::gib(3), Bytes::gib(5)));
        assert_eq!(within("0::/other\n", &files).total, Bytes::gib(64), "no limit, no change");
        // In a container the group is the root of what is seen.
        let inside = [("/sys/fs/cgroup/memory.max", (2 * GIB).to_string()), ("/sys/fs/cgroup/memory.current", GIB.to_string())];
        assert_eq!(within("0::/\n", &inside).free, Bytes::gib(1));
    }

    #[test]
    fn the_first_version_is_understood() {
        let files = [
            ("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", (4 * GIB).to_string()),
            ("/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", (3 * GIB).to_string()),
            ("/sys/fs/cgroup/memory/docker/x/memory.stat", format!("cache 5\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}\n")),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712".to_owned()),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", (30 * GIB).to_string()),
        ];
        let memory = within("11:cpu,cpuacct:/docker/x\n9:memory:/docker/x\n1:name=systemd:/docker/x\n", &files);
        assert_eq!((memory.total, memory.free), (Bytes::gib(4), Bytes::gib(3)));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let files = |meminfo: &'static str| move |path: &Path| (path == Path::new("/proc/meminfo")).then(|| meminfo.to_owned());
        assert_eq!(host_memory(files("MemTotal: 8 kB\n")), None);
        assert_eq!(host_memory(|_| None), None);
        let memory = host_memory(files("MemTotal:   8 kB\nMemFree: 1 kB\nMemAvailable: 6 kB\n")).unwrap();
        assert_eq!((memory.total, memory.used, memory.free), (Bytes::kib(8), Bytes::kib(2), Bytes::kib(6)));
        // Neighbours use up what a limit would allow.
        let read = |path: &Path| match path.to_str()? {
            "/proc/meminfo" => Some("MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\n".to_owned()),
            "/proc/self/cgroup" => Some("0::/\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some((4 * GIB).to_string()),
            "/sys/fs/cgroup/memory.current" => Some(GIB.to_string()),
            _ => None,
        };
        assert_eq!(host_memory(read).map(|m| (m.total, m.free)), Some((Bytes::gib(4), Bytes::gib(1))));
    }
}
