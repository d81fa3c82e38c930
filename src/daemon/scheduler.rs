//! Which job runs on which engine next, and why the others wait. Values in, values out.

use std::collections::BTreeMap;

use super::state::queue::Waiting;
use super::state::{Engine, Mode, Queue};
use crate::jobs::{JobState, WaitReason};
use crate::units::{DeviceId, JobId};

/// A job and the device whose engine gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The device.
    pub device: DeviceId,
}

/// Returns a job that can start now.
#[must_use]
pub fn next(queue: &Queue, engines: &BTreeMap<DeviceId, Engine>) -> Option<Assignment> {
    let mut free = engines.values().filter(|e| matches!(e.mode, Mode::Ready(_)));
    free.find_map(|e| queue.next_for(e.device).map(|job| Assignment { job, device: e.device }))
}

/// Returns a device for which jobs wait and no engine was started.
#[must_use]
pub fn lacking(queue: &Queue, engines: &BTreeMap<DeviceId, Engine>) -> Option<DeviceId> {
    queue.wanted().find(|device| engines.get(device).is_none_or(|e| e.mode == Mode::Absent))
}

/// Returns why a job waits; nothing for one that does not.
#[must_use]
pub fn reason(job: &Waiting, queue: &Queue, engines: &BTreeMap<DeviceId, Engine>, paused: bool) -> Option<WaitReason> {
    match job.entry.state {
        JobState::Held => return Some(WaitReason::Operator),
        JobState::Running | JobState::Paused | JobState::Done | JobState::Failed | JobState::Cancelled => return None,
        JobState::Queued if !job.is_waiting() => return None,
        JobState::Queued => {}
    }
    if paused {
        return Some(WaitReason::Operator);
    }
    if job.lacks().is_some() {
        return Some(WaitReason::Converting);
    }
    if let Some(other) = queue.in_front_of(job) {
        return Some(WaitReason::After(other));
    }
    let engine = engines.get(&job.entry.device);
    match engine.map(|e| e.mode) {
        Some(Mode::Assigning(other)) => Some(WaitReason::After(other)),
        Some(Mode::Busy(run)) => queue.active().find(|j| queue.get(*j).is_some_and(|w| w.run == Some(run))).map(WaitReason::After),
        Some(Mode::Absent | Mode::Starting | Mode::Calibrating | Mode::Ending(_) | Mode::Backoff(_) | Mode::Broken(_)) | None => {
            Some(WaitReason::Engine)
        }
        Some(Mode::Ready(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Rank;
    use crate::ledger::Entry;
    use crate::units::{RunId, Timestamp};

    fn queue(jobs: &[(i64, DeviceId)]) -> Queue {
        let mut queue = Queue::default();
        for (job, device) in jobs {
            queue.insert(Entry {
                job: JobId(*job),
                state: JobState::Queued,
                priority: 0,
                rank: Rank(*job),
                device: *device,
                cancelling: false,
                crashes: 0,
                deaths: 0,
                created: Timestamp(0),
                conversion: None,
            });
        }
        queue
    }

    fn engines(modes: &[(DeviceId, Mode)]) -> BTreeMap<DeviceId, Engine> {
        modes.iter().map(|(device, mode)| (*device, Engine { mode: *mode, ..Engine::absent(*device) })).collect()
    }

    const GPU: DeviceId = DeviceId::Cuda(0);
    const READY: Mode = Mode::Ready(Timestamp(0));

    #[test]
    fn each_device_gets_its_own_next_job() {
        let queue = queue(&[(1, GPU), (2, DeviceId::Cpu), (3, DeviceId::Cpu)]);
        let next = |modes: &[(DeviceId, Mode)]| next(&queue, &engines(modes)).map(|a| (a.job.0, a.device));
        assert_eq!(next(&[(DeviceId::Cpu, READY)]), Some((2, DeviceId::Cpu)));
        assert_eq!(next(&[(DeviceId::Cpu, Mode::Busy(RunId(1))), (GPU, READY)]), Some((1, GPU)));
        assert_eq!(next(&[(DeviceId::Cpu, Mode::Starting), (DeviceId::Cuda(1), READY)]), None);
    }

    #[test]
    fn an_engine_is_started_when_a_job_wants_it() {
        let queue = queue(&[(1, GPU), (2, DeviceId::Cpu)]);
        assert_eq!(lacking(&queue, &engines(&[(GPU, Mode::Starting)])), Some(DeviceId::Cpu));
        assert_eq!(lacking(&queue, &engines(&[(GPU, Mode::Backoff(Timestamp(9))), (DeviceId::Cpu, READY)])), None);
    }

    #[test]
    fn says_why_a_job_waits() {
        let mut queue = queue(&[(1, DeviceId::Cpu), (2, DeviceId::Cpu), (3, DeviceId::Cpu)]);
        let why = |queue: &Queue, job: i64, mode: Mode, paused: bool| {
            let reason = reason(queue.get(JobId(job)).unwrap(), queue, &engines(&[(DeviceId::Cpu, mode)]), paused);
            reason.map(|r| r.to_string())
        };
        assert_eq!(why(&queue, 1, Mode::Starting, false).as_deref(), Some("engine"));
        assert_eq!(why(&queue, 1, READY, false), None);
        assert_eq!(why(&queue, 2, READY, false).as_deref(), Some("after 1"));
        assert_eq!(why(&queue, 2, READY, true).as_deref(), Some("operator"));
        queue.change(JobId(1), |j| (j.run, j.entry.state) = (Some(RunId(7)), JobState::Running));
        assert_eq!(why(&queue, 1, Mode::Busy(RunId(7)), true), None);
        assert_eq!(why(&queue, 2, Mode::Busy(RunId(7)), false).as_deref(), Some("after 1"));
        queue.change(JobId(2), |j| j.entry.state = JobState::Held);
        assert_eq!(why(&queue, 2, READY, false).as_deref(), Some("operator"));
        assert_eq!(why(&queue, 3, Mode::Busy(RunId(7)), false).as_deref(), Some("after 1"));
    }
}
