//! `perilune queue move`: gives a waiting job another place, and says which it has.

use serde_json::json;

use super::queue::ask;
use crate::cli::output::Output;
use crate::client::Client;
use crate::client::call::unexpected;
use crate::jobs::Move;
use crate::units::JobId;
use crate::wire::{Reply, Request};
use crate::workflow::Refusal;

/// Moves a job within its priority, or before another, whose priority it takes.
pub(super) async fn move_job(mut daemon: Client, output: Output, job: JobId, to: Move) -> Result<(), Refusal> {
    let before = ask(&mut daemon, job).await.map(|view| view.spec.priority);
    let changed = match daemon.call(Request::Move { job, to }).await? {
        Reply::Changed(jobs) => jobs,
        reply => return Err(unexpected(&reply)),
    };
    // It was there to be moved; should it be gone by now, where it was is all that can be told.
    let before = before?;
    let after = ask(&mut daemon, job).await.map_or(before, |view| view.spec.priority);
    output.show(&json!({"changed": changed, "priority": after}), || told(job, to, !changed.is_empty(), (before, after)));
    Ok(())
}

fn told(job: JobId, to: Move, is_moved: bool, (before, after): (i32, i32)) -> String {
    if !is_moved {
        let place = match to {
            Move::Up | Move::First => format!("the first of its priority, {after}"),
            Move::Down | Move::Last => format!("the last of its priority, {after}"),
            Move::Before(other) if other == job => "the job it was to be moved before".to_owned(),
            Move::Before(other) => format!("right before job {other} already"),
        };
        return format!("job {job} stays where it is: it is {place}\n");
    }
    match to {
        Move::First => format!("job {job} moved; it is the first of its priority, {after}\n"),
        Move::Last => format!("job {job} moved; it is the last of its priority, {after}\n"),
        Move::Before(other) if before != after => {
            format!("job {job} moved before job {other}, whose priority it takes: {after} instead of {before}\n")
        }
        Move::Before(other) => format!("job {job} moved before job {other}\n"),
        Move::Up | Move::Down => format!("job {job} moved\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_move_did_is_told() {
        let check = |to: &str, is_moved: bool, priorities: (i32, i32), expected: &str| {
            assert_eq!(told(JobId(2), to.parse().unwrap(), is_moved, priorities), format!("job 2 {expected}\n"));
        };
        check("first", false, (-1, -1), "stays where it is: it is the first of its priority, -1");
        check("down", false, (0, 0), "stays where it is: it is the last of its priority, 0");
        check("before:3", false, (0, 0), "stays where it is: it is right before job 3 already");
        check("first", true, (0, 0), "moved; it is the first of its priority, 0");
        check("up", true, (0, 0), "moved");
        check("before:3", true, (0, 5), "moved before job 3, whose priority it takes: 5 instead of 0");
        check("before:3", true, (5, 5), "moved before job 3");
    }
}
