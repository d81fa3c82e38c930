//! Names and users of processes, as far as they can be seen from here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind, Users};

use crate::telemetry::condition::is_due;
use crate::telemetry::processes::{Seen, container};
use crate::units::Timestamp;

/// The kernel's number for the namespace of the first process (`PROC_PID_INIT_INO`); drivers count in that one.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The visible processes among those that hold device memory.
#[derive(Default)]
pub(super) struct Names {
    system: Option<System>,
    users: Option<Users>,
    users_read: Option<Timestamp>,
    /// Whether the driver's process ids may mean other processes here, as in a container.
    elsewhere: Option<bool>,
}

impl Names {
    /// Looks up `pids` and forgets every other process.
    pub(super) fn refresh(&mut self, pids: &BTreeSet<u32>, now: Timestamp) {
        let outdated = self.system.as_ref().is_some_and(|s| s.processes().keys().any(|pid| !pids.contains(&pid.as_u32())));
        if outdated {
            self.system = None;
        }
        if pids.is_empty() {
            return;
        }
        if self.system.is_none() {
            self.system = System::new().inspect_err(|error| tracing::warn!(%error, "cannot look up processes")).ok();
            self.elsewhere.get_or_insert_with(|| fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns != Path::new(FIRST_PID_NAMESPACE)));
        }
        let Some(system) = &mut self.system else { return };
        let wanted: Vec<Pid> = pids.iter().map(|pid| Pid::from_u32(*pid)).collect();
        // Tasks are left out: by default every thread of every process is listed.
        let kind = ProcessRefreshKind::nothing().without_tasks().with_user(UpdateKind::OnlyIfNotSet).with_cmd(UpdateKind::OnlyIfNotSet);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&wanted), true, kind);

        let stranger =
            |users: &Users| system.processes().values().any(|p| p.user_id().is_some_and(|id| users.get_user_by_id(id).is_none()));
        if self.users.as_ref().is_none_or(stranger) && is_due(self.users_read, now) {
            self.users_read = Some(now);
            self.users = Users::new_with_refreshed_list().inspect_err(|error| tracing::warn!(%error, "cannot list users")).ok();
        }
    }

    /// Returns what is visible of a process that was looked up.
    pub(super) fn get(&self, pid: u32) -> Option<Seen> {
        let process = self.system.as_ref()?.process(Pid::from_u32(pid))?;
        if self.elsewhere == Some(true) && !holds_gpu(&Path::new("/proc").join(pid.to_string())) {
            return None;
        }
        Some(Seen {
            name: Some(process.name().to_string_lossy().into_owned()).filter(|n| !n.is_empty()),
            user: self.user(process),
            command: Some(process.cmd().iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")).filter(|c| !c.is_empty()),
            container: fs::read_to_string(format!("/proc/{pid}/cgroup")).ok().and_then(|groups| container(&groups)),
            start_ticks: start_ticks(pid),
            started: Timestamp(i64::try_from(process.start_time()).unwrap_or(0).saturating_mul(1000)),
        })
    }

    /// A user without a name, as in containers, is shown by number.
    fn user(&self, process: &Process) -> Option<String> {
        let id = process.user_id()?;
        let name = self.users.as_ref().and_then(|users| users.get_user_by_id(id)).map(|u| u.name().to_owned());
        Some(name.unwrap_or_else(|| id.to_string()))
    }
}

/// Returns when a process started, by the kernel's clock in ticks since boot: with its number, its identity.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is the twentieth word behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Returns whether a process has a GPU's device file open, as every process in a driver's table has.
fn holds_gpu(process: &Path) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    let open = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    open.into_iter().any(|file| file.to_string_lossy().starts_with("/dev/nvidia"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_container_a_process_must_hold_a_gpu_to_be_the_one_that_is_meant() {
        let process = tempfile::tempdir().unwrap();
        assert!(!holds_gpu(process.path()));
        let files = process.path().join("fd");
        fs::create_dir(&files).unwrap();
        std::os::unix::fs::symlink("/dev/null", files.join("0")).unwrap();
        assert!(!holds_gpu(process.path()));
        std::os::unix::fs::symlink("/dev/nvidiactl", files.join("9")).unwrap();
        assert!(holds_gpu(process.path()));
    }

    #[test]
    fn sees_itself_and_forgets_others() {
        let me = std::process::id();
        let nobody = (1 << 22) - 1;
        let mut names = Names { elsewhere: Some(false), ..Names::default() };
        names.refresh(&BTreeSet::from([me, nobody]), Timestamp(0));
        let seen = names.get(me).unwrap();
        assert!(seen.name.is_some() && seen.user.is_some() && seen.started.0 > 1_600_000_000_000);
        assert!(seen.command.is_some() && seen.start_ticks.is_some_and(|ticks| Some(ticks) == start_ticks(me)));
        assert_eq!(names.get(nobody), None);
        names.elsewhere = Some(true);
        assert_eq!(names.get(me), None, "this test holds no GPU");
        names.elsewhere = Some(false);
        names.refresh(&BTreeSet::from([nobody]), Timestamp(0));
        assert_eq!(names.get(me), None);
    }
}
