//! Who holds a GPU's memory.
//!
//! Drivers list host process ids, list a process several times, and after some updates list garbage.
//! Pure: what is visible of a process comes from the caller (`names`).

use std::collections::{BTreeMap, BTreeSet};

use crate::devices::ProcessReading;
use crate::units::{Bytes, Timestamp};

/// No Linux process id is larger (`PID_MAX_LIMIT` of 64-bit kernels).
const PID_LIMIT: u32 = 1 << 22;

/// Names longer than this are cut; they come from strangers.
const NAME_LIMIT: usize = 64;
/// Commands longer than this are cut.
const COMMAND_LIMIT: usize = 200;

/// A line of the driver's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawProcess {
    pub(super) pid: u32,
    pub(super) bytes: Option<Bytes>,
}

/// What can be seen of a process from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) command: Option<String>,
    pub(super) container: Option<String>,
    /// When it started.
    pub(super) started: Timestamp,
    /// The same by the kernel's clock, in ticks since boot.
    pub(super) start_ticks: Option<u64>,
}

/// A table that cannot be true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the driver's table of processes is garbled ({count} listed): {fault}; drivers 535 did this, a newer one mends it")]
pub(super) struct Garbled {
    count: usize,
    fault: String,
}

/// Returns one line per process. A process stands in several lists with the same memory, so the largest counts.
pub(super) fn merge(table: &[RawProcess], total: Option<Bytes>) -> Result<BTreeMap<u32, Option<Bytes>>, Garbled> {
    let garbled = |fault: String| Garbled { count: table.len(), fault };
    let mut merged = BTreeMap::new();
    for line in table {
        if line.pid == 0 || line.pid > PID_LIMIT {
            return Err(garbled(format!("{} is no process id", line.pid)));
        }
        if let (Some(bytes), Some(total)) = (line.bytes, total)
            && bytes > total
        {
            return Err(garbled(format!("process {} holds {bytes} of {total}", line.pid)));
        }
        let bytes: &mut Option<Bytes> = merged.entry(line.pid).or_default();
        // `None` is less than any amount.
        *bytes = (*bytes).max(line.bytes);
    }
    Ok(merged)
}

/// Says of each process what it is to us, the largest first.
pub(super) fn describe(
    merged: BTreeMap<u32, Option<Bytes>>,
    engines: &BTreeSet<u32>,
    seen: impl Fn(u32) -> Option<Seen>,
    now: Timestamp,
) -> Vec<ProcessReading> {
    let mut rows: Vec<ProcessReading> = merged
        .into_iter()
        .map(|(pid, bytes)| {
            // A process younger than the reading is another one that got the same id: the lister's id belongs to another namespace.
            let seen = seen(pid).filter(|s| s.started <= now);
            let owner = if engines.contains(&pid) {
                "engine"
            } else if seen.is_some() {
                "foreign"
            } else {
                "other pid ns"
            };
            let (started, start_ticks) = (seen.as_ref().map(|s| s.started), seen.as_ref().and_then(|s| s.start_ticks));
            let (name, user, command, container) = seen.map_or_else(Default::default, |s| (s.name, s.user, s.command, s.container));
            ProcessReading {
                pid,
                name: name.map(|n| clean(&n, NAME_LIMIT)),
                user: user.map(|u| clean(&u, NAME_LIMIT)),
                command: command.map(|c| clean(&c, COMMAND_LIMIT)),
                container,
                started,
                start_ticks,
                bytes,
                owner: owner.to_owned(),
            }
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.bytes), row.pid));
    rows
}

/// Returns the container of a process by the kernel's words for its group: what manages it, and the first twelve digits of its
/// number, as `docker ps` shows it.
pub(super) fn container(groups: &str) -> Option<String> {
    const MANAGERS: [(&str, &str); 5] =
        [("docker", "docker"), ("libpod", "podman"), ("cri-containerd", "k8s"), ("crio", "k8s"), ("kubepods", "k8s")];
    let path = groups.lines().rev().filter_map(|line| line.splitn(3, ':').nth(2)).find(|path| path.len() > 1)?;
    let (_, manager) = MANAGERS.iter().find(|(word, _)| path.contains(word))?;
    let last = path.rsplit('/').find(|part| !part.is_empty())?.trim_end_matches(".scope");
    let number = last.rsplit('-').next().filter(|n| n.len() >= 12 && n.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some(format!("{manager}:{}", &number[..12]))
}

/// Drops what could steer a terminal.
fn clean(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const TOTAL: Option<Bytes> = Some(Bytes::gib(24));

    fn line(pid: u32, mib: impl Into<Option<u64>>) -> RawProcess {
        RawProcess { pid, bytes: mib.into().map(Bytes::mib) }
    }

    fn seen(name: &str) -> Seen {
        Seen {
            name: Some(name.to_owned()),
            user: Some("ada".to_owned()),
            command: None,
            container: None,
            started: Timestamp(0),
            start_ticks: Some(1),
        }
    }

    #[test]
    fn a_process_in_several_lists_counts_once() {
        let merged = merge(&[line(7, 2048), line(7, None), line(7, 2049), line(9, None)], TOTAL).unwrap();
        assert_eq!(merged, BTreeMap::from([(7, Some(Bytes::mib(2049))), (9, None)]));
    }

    #[test]
    fn impossible_tables_are_not_shown() {
        for (table, fault) in [
            (vec![line(7, 1), line(0, 1)], "0 is no process id"),
            (vec![line(u32::MAX, 1)], "4294967295 is no process id"),
            (vec![line(7, 25 * 1024)], "process 7 holds 25.0 GiB of 24.0 GiB"),
        ] {
            let error = merge(&table, TOTAL).unwrap_err().to_string();
            assert!(error.contains(fault) && error.contains(&format!("({} listed)", table.len())), "{error}");
        }
        assert!(merge(&[line(7, 25 * 1024)], None).is_ok(), "nothing to compare with");
    }

    #[test]
    fn owners_are_told_apart() {
        let merged = merge(&[line(10, 100), line(11, 300), line(12, 200), line(13, None)], TOTAL).unwrap();
        let visible = |pid| match pid {
            10 => Some(seen("perilune-engine")),
            11 => Some(seen("python3")),
            13 => Some(Seen { started: Timestamp(NOW.0 + 1), ..seen("a younger one") }),
            _ => None,
        };
        let rows = describe(merged, &BTreeSet::from([10]), visible, NOW);
        let told: Vec<_> = rows.iter().map(|r| (r.pid, r.owner.as_str(), r.name.as_deref())).collect();
        assert_eq!(
            told,
            [
                (11, "foreign", Some("python3")),
                (12, "other pid ns", None),
                (10, "engine", Some("perilune-engine")),
                (13, "other pid ns", None)
            ]
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let merged = merge(&[line(10, 1)], TOTAL).unwrap();
        let name = format!("\u{1b}]0;owned\u{7}{}", "x".repeat(500));
        let rows = describe(merged, &BTreeSet::new(), |_| Some(seen(&name)), NOW);
        let shown = rows[0].name.as_deref().unwrap();
        assert!(shown.starts_with("]0;ownedx") && shown.len() == NAME_LIMIT, "{shown:?}");
    }

    #[test]
    fn containers_are_known_by_their_groups() {
        let hex = "7f3a21d06b52aa07f3a21d06b52aa07f3a21d06b52aa07f3a21d06b52aa0bbcc";
        for (groups, expected) in [
            (format!("0::/system.slice/docker-{hex}.scope\n"), Some("docker:7f3a21d06b52")),
            (format!("12:devices:/docker/{hex}\n1:name=systemd:/docker/{hex}\n"), Some("docker:7f3a21d06b52")),
            (format!("0::/user.slice/user-1000.slice/libpod-{hex}.scope"), Some("podman:7f3a21d06b52")),
            (format!("0::/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{hex}.scope"), Some("k8s:7f3a21d06b52")),
            ("0::/user.slice/user-1000.slice/session-3.scope".to_owned(), None),
            ("0::/docker/short".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(container(&groups).as_deref(), expected, "{groups}");
        }
    }
}
