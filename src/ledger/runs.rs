//! Attempts at jobs: assigned, started, ended one way or another.
//!
//! A run ends once. What would end it a second time finds no open run and is refused, so that no
//! picture is published twice.

use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::rows::{changed, to_json, whole_view};
use super::{Answer, Interruption, LedgerError, Outcome, Planned, history};
use crate::jobs::Failure;
use crate::units::{DeviceId, JobId, RunId, Timestamp};

pub(super) fn assign(
    connection: &Connection,
    job: JobId,
    device: DeviceId,
    pid: Option<u32>,
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("assign a job");
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO runs (job, device, pid, assigned)
             SELECT id, ?2, ?3, ?4 FROM jobs WHERE id = ?1 AND state = 'queued' AND publishing IS NULL",
        )
        .map_err(sqlite())?;
    if insert.execute(params![job.0, device.to_string(), pid, now.0]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoJob(job));
    }
    let run = RunId(connection.last_insert_rowid());
    Ok(Answer::Assigned { run, view: Box::new(whole_view(connection, job)?) })
}

pub(super) fn start(connection: &Connection, run: RunId, job: JobId, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("start a run");
    let mut update =
        connection.prepare_cached("UPDATE runs SET started = ?2 WHERE id = ?1 AND ended IS NULL AND started IS NULL").map_err(sqlite())?;
    if update.execute(params![run.0, now.0]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoRun(run));
    }
    let mut update = connection
        .prepare_cached("UPDATE jobs SET state = 'running', attempts = attempts + 1, started = ?2 WHERE id = ?1")
        .map_err(sqlite())?;
    update.execute(params![job.0, now.0]).map_err(sqlite())?;
    history::event(connection, now, "info", Some(job), &format!("started, run {run}"))?;
    changed(connection, &[job])
}

/// Ends a run, which must be open.
pub(super) fn end(connection: &Connection, run: RunId, ending: &str, exit: Option<&str>, now: Timestamp) -> Result<(), LedgerError> {
    let sqlite = || LedgerError::sqlite("end a run");
    let mut update =
        connection.prepare_cached("UPDATE runs SET ended = ?2, ending = ?3, exit = ?4 WHERE id = ?1 AND ended IS NULL").map_err(sqlite())?;
    let ended = update.execute(params![run.0, now.0, ending, exit]).map_err(sqlite())?;
    if ended == 0 { Err(LedgerError::NoRun(run)) } else { Ok(()) }
}

pub(super) fn interrupt(
    connection: &Connection,
    run: RunId,
    job: JobId,
    why: &Interruption,
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    let (crashes, deaths, exit) = match why {
        Interruption::EngineDied(exit) => (0, 1, exit.as_str()),
        Interruption::DaemonDied => (1, 0, "the daemon died"),
        Interruption::Orderly => (0, 0, "the daemon ended"),
        Interruption::GivenBack => (0, 0, "given back"),
    };
    end(connection, run, "interrupted", Some(exit), now)?;
    let sqlite = || LedgerError::sqlite("interrupt a run");
    let mut update = connection
        .prepare_cached(
            "UPDATE jobs SET state = CASE state WHEN 'paused' THEN 'held' ELSE 'queued' END, crashes = crashes + ?2, deaths = deaths + ?3
             WHERE id = ?1 AND finished IS NULL AND publishing IS NULL",
        )
        .map_err(sqlite())?;
    update.execute(params![job.0, crashes, deaths]).map_err(sqlite())?;
    let level = if crashes + deaths > 0 { "warn" } else { "info" };
    history::event(connection, now, level, Some(job), &format!("run {run} was interrupted: {exit}"))?;
    changed(connection, &[job])
}

pub(super) fn finish(
    connection: &Connection,
    run: RunId,
    job: JobId,
    outcome: &Outcome,
    images: &[Planned],
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    end(connection, run, "finished", None, now)?;
    let sqlite = || LedgerError::sqlite("record a run's result");
    let mut update = connection
        .prepare_cached("UPDATE details SET timing = ?2, placement = ?3, precision = ?4, warnings = ?5, failure = NULL WHERE job = ?1")
        .map_err(sqlite())?;
    let (timing, placement) = (to_json("timing", &outcome.timing)?, to_json("placement", &outcome.placement)?);
    update.execute(params![job.0, timing, placement, outcome.precision, to_json("warning", &outcome.warnings)?]).map_err(sqlite())?;
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO images (run, number, job, target, inode, path, seed, width, height) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(sqlite())?;
    for (number, image) in (0_i64..).zip(images) {
        let (target, path) = (image.target.to_string_lossy(), image.path.to_string_lossy());
        let inode = image.inode.map(u64::cast_signed);
        let seed = image.seed.0.cast_signed();
        insert.execute(params![run.0, number, job.0, target, inode, path, seed, image.width, image.height]).map_err(sqlite())?;
    }
    let mut update = connection.prepare_cached("UPDATE jobs SET publishing = ?2 WHERE id = ?1 AND finished IS NULL").map_err(sqlite())?;
    if update.execute(params![job.0, run.0]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoJob(job));
    }
    Ok(Answer::Done)
}

pub(super) fn publish(connection: &Connection, run: RunId, job: JobId, paths: &[PathBuf], now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("publish a run");
    let mut update = connection
        .prepare_cached(
            "UPDATE jobs SET state = 'done', cancelling = 0, publishing = NULL, finished = ?3 WHERE id = ?1 AND publishing = ?2",
        )
        .map_err(sqlite())?;
    if update.execute(params![job.0, run.0, now.0]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoRun(run));
    }
    let mut update = connection.prepare_cached("UPDATE images SET path = ?3 WHERE run = ?1 AND number = ?2").map_err(sqlite())?;
    for (number, path) in (0_i64..).zip(paths) {
        update.execute(params![run.0, number, path.to_string_lossy()]).map_err(sqlite())?;
    }
    history::event(connection, now, "info", Some(job), "done")?;
    changed(connection, &[job])
}

pub(super) fn fail(
    connection: &Connection,
    job: JobId,
    run: Option<RunId>,
    failure: &Failure,
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    if let Some(run) = run {
        end_if_open(connection, run, &failure.message, now)?;
    }
    let sqlite = || LedgerError::sqlite("record a failure");
    let mut update = connection
        .prepare_cached(
            "UPDATE jobs SET state = 'failed', cancelling = 0, publishing = NULL, finished = ?2 WHERE id = ?1 AND finished IS NULL",
        )
        .map_err(sqlite())?;
    update.execute(params![job.0, now.0]).map_err(sqlite())?;
    let mut update = connection.prepare_cached("UPDATE details SET failure = ?2 WHERE job = ?1").map_err(sqlite())?;
    update.execute(params![job.0, to_json("failure", failure)?]).map_err(sqlite())?;
    history::event(connection, now, "fail", Some(job), &failure.message)?;
    changed(connection, &[job])
}

/// A run whose pictures could not be named has ended before its job failed.
fn end_if_open(connection: &Connection, run: RunId, exit: &str, now: Timestamp) -> Result<(), LedgerError> {
    match end(connection, run, "failed", Some(exit), now) {
        Err(LedgerError::NoRun(_)) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}
