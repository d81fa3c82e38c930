//! When waiting jobs will be finished, guessed from what jobs like them took.

use crate::jobs::progress::median;
use crate::jobs::{JobState, JobView};
use crate::units::DeviceId;

/// Returns, for each job in the order of screens, the seconds until it is finished.
///
/// For a running job this is measured; for a waiting one it is a guess, and `None` where a job like it,
/// of the same model and size on the same device, has not been timed. Held jobs and jobs behind a
/// paused one have none.
#[must_use]
pub fn remaining(jobs: &[JobView]) -> Vec<Option<f64>> {
    let mut busy: Vec<(DeviceId, Option<f64>)> = Vec::new();
    jobs.iter()
        .map(|job| {
            let own = match job.state {
                JobState::Running => running(job),
                JobState::Queued => step_seconds(jobs, job).map(|s| s * f64::from(job.spec.steps)),
                JobState::Paused => None,
                JobState::Held | JobState::Done | JobState::Failed | JobState::Cancelled => return None,
            };
            let device = job.spec.compute;
            let at = busy.iter().position(|(d, _)| *d == device);
            let ahead = at.map_or(Some(0.0), |i| busy[i].1);
            let total = ahead.zip(own).map(|(a, b)| a + b);
            match at {
                Some(i) => busy[i].1 = total,
                None => busy.push((device, total)),
            }
            total
        })
        .collect()
}

fn running(job: &JobView) -> Option<f64> {
    job.progress.and_then(|p| p.eta_s())
}

/// Seconds per step of jobs like this one: the median of those that are running or were done.
fn step_seconds(jobs: &[JobView], like: &JobView) -> Option<f64> {
    let alike = |j: &&JobView| {
        let (a, b) = (&j.spec, &like.spec);
        a.set.name == b.set.name && a.size == b.size && a.batch == b.batch && a.compute == b.compute
    };
    let timed: Vec<f64> = jobs
        .iter()
        .filter(alike)
        .filter_map(|j| {
            let running = j.progress.and_then(|p| p.step_s);
            running.or_else(|| j.timing.as_ref().and_then(|t| median(&t.per_step)))
        })
        .collect();
    median(&timed)
}
