//! Between rows and values.

use std::path::PathBuf;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::is_nonsense;
use super::{Answer, LedgerError, damage};
use crate::jobs::{ImageRecord, JobRow, JobState, JobView, Rank};
use crate::units::{DeviceId, JobId, Seed, Timestamp};
use crate::workflow::{Conversion, JobSpec};

/// What the queue in memory needs of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// Jobs of higher priority run first.
    pub priority: i32,
    /// Its place within its priority.
    pub rank: Rank,
    /// The device that shall compute it.
    pub device: DeviceId,
    /// Whether its operator wants it stopped.
    pub cancelling: bool,
    /// Runs that a daemon's death ended since it was last submitted or retried.
    pub crashes: u32,
    /// Runs that an engine's death ended since then.
    pub deaths: u32,
    /// When it was submitted.
    pub created: Timestamp,
    /// What becomes of its diffusion network before it is run.
    pub conversion: Option<Box<Conversion>>,
}

/// Columns that [`entry`] reads.
pub(super) const ENTRY: &str = "id, state, urgency, rank, device, cancelling, crashes, deaths, created, conversion";

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        job: JobId(row.get(0)?),
        state: parsed(row, 1)?,
        priority: priority(row.get(2)?),
        rank: Rank(row.get(3)?),
        device: parsed(row, 4)?,
        cancelling: row.get(5)?,
        crashes: row.get(6)?,
        deaths: row.get(7)?,
        created: Timestamp(row.get(8)?),
        conversion: conversion(row, 9)?,
    })
}

fn conversion(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Box<Conversion>>> {
    let text = row.get::<_, Option<String>>(column)?;
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed.map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// Columns that [`line`] reads.
pub(super) const LINE: &str = "id, state, urgency, rank, model, prompt, owner, created, finished";

/// Reads a job for a list, and its rank, which is where a page may end. A list is not refused for one row.
pub(super) fn line(row: &Row<'_>) -> rusqlite::Result<(JobRow, Rank)> {
    match whole_line(row) {
        Err(error) if is_nonsense(&error) => damage::line(row, &error.to_string()),
        line => line,
    }
}

fn whole_line(row: &Row<'_>) -> rusqlite::Result<(JobRow, Rank)> {
    let job = JobRow {
        job: JobId(row.get(0)?),
        state: parsed(row, 1)?,
        priority: priority(row.get(2)?),
        model: row.get(4)?,
        prompt: row.get(5)?,
        owner: row.get(6)?,
        created: Timestamp(row.get(7)?),
        finished: row.get::<_, Option<i64>>(8)?.map(Timestamp),
    };
    Ok((job, Rank(row.get(3)?)))
}

/// Returns the number that is stored for a priority, so that ascending order puts the highest first.
pub(super) fn urgency(priority: i32) -> i64 {
    -i64::from(priority)
}

pub(super) fn priority(urgency: i64) -> i32 {
    i32::try_from(-urgency).unwrap_or(0)
}

pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// Returns what the queue needs of a job; of one whose row makes no sense, what keeps it out of the queue.
pub(super) fn find_entry(connection: &Connection, job: JobId) -> Result<Entry, LedgerError> {
    match whole_entry(connection, job) {
        Err(LedgerError::Unreadable { .. }) => Ok(damage::entry(job)),
        found => found,
    }
}

/// Returns what the queue needs of a job, all of which can be read.
pub(super) fn whole_entry(connection: &Connection, job: JobId) -> Result<Entry, LedgerError> {
    let doing = "read a job";
    let mut statement =
        connection.prepare_cached(&format!("SELECT {ENTRY} FROM jobs WHERE id = ?1")).map_err(LedgerError::sqlite(doing))?;
    let found = statement.query_row([job.0], entry).optional().map_err(LedgerError::about(job, doing))?;
    found.ok_or(LedgerError::NoJob(job))
}

/// Returns everything about a job, or what is left of it where its record cannot be read.
pub(super) fn view(connection: &Connection, job: JobId) -> Result<JobView, LedgerError> {
    match whole_view(connection, job) {
        Err(LedgerError::Unreadable { problem, .. }) => damage::view(connection, job, &problem),
        view => view,
    }
}

/// Returns everything about a job, all of which can be read. What only the daemon's memory knows is left out.
pub(super) fn whole_view(connection: &Connection, job: JobId) -> Result<JobView, LedgerError> {
    let doing = "read a job";
    let mut statement = connection
        .prepare_cached(
            "SELECT state, urgency, cancelling, attempts, created, started, finished,
                    spec, timing, placement, precision, warnings, failure
             FROM jobs LEFT JOIN details ON details.job = jobs.id WHERE jobs.id = ?1",
        )
        .map_err(LedgerError::sqlite(doing))?;
    let text = |row: &Row<'_>, column| row.get::<_, Option<String>>(column);
    let found = statement
        .query_row([job.0], |row| {
            let texts = [text(row, 7)?, text(row, 8)?, text(row, 9)?, text(row, 10)?, text(row, 11)?, text(row, 12)?];
            let times = (row.get::<_, i64>(4)?, row.get::<_, Option<i64>>(5)?, row.get::<_, Option<i64>>(6)?);
            Ok((parsed::<JobState>(row, 0)?, priority(row.get(1)?), row.get::<_, bool>(2)?, row.get::<_, u32>(3)?, times, texts))
        })
        .optional()
        .map_err(LedgerError::about(job, doing))?;
    let (state, priority, cancelling, attempts, times, [spec, timing, placement, precision, warnings, failure]) =
        found.ok_or(LedgerError::NoJob(job))?;
    let mut spec = read_spec(job, spec.as_deref())?;
    spec.priority = priority;
    Ok(JobView {
        job,
        state,
        reason: None,
        cancelling,
        spec,
        progress: None,
        attempts,
        created: Timestamp(times.0),
        started: times.1.map(Timestamp),
        finished: times.2.map(Timestamp),
        images: if state == JobState::Done { images(connection, job)? } else { Vec::new() },
        timing: timing.map(|t| from_json(job, "timing", &t)).transpose()?,
        placement: placement.map(|t| from_json(job, "placement", &t)).transpose()?,
        precision,
        warnings: warnings.map(|t| from_json(job, "warnings", &t)).transpose()?.unwrap_or_default(),
        failure: failure.map(|t| from_json(job, "failure", &t)).transpose()?,
    })
}

/// Returns what a job is to do.
pub(super) fn read_spec(job: JobId, text: Option<&str>) -> Result<JobSpec, LedgerError> {
    let text = text.ok_or_else(|| LedgerError::Unreadable { job, problem: "what it is to do is missing".to_owned() })?;
    from_json(job, "what it is to do", text)
}

pub(super) fn images(connection: &Connection, job: JobId) -> Result<Vec<ImageRecord>, LedgerError> {
    let doing = "read a job's images";
    let mut statement = connection
        .prepare_cached(
            "SELECT path, seed, width, height FROM images
             WHERE job = ?1 AND run = (SELECT max(run) FROM images WHERE job = ?1) ORDER BY number",
        )
        .map_err(LedgerError::sqlite(doing))?;
    let rows = statement.query_map([job.0], |row| {
        Ok(ImageRecord {
            path: PathBuf::from(row.get::<_, String>(0)?),
            seed: Seed(row.get::<_, i64>(1)?.cast_unsigned()),
            width: row.get(2)?,
            height: row.get(3)?,
        })
    });
    let rows = rows.map_err(LedgerError::sqlite(doing))?;
    rows.collect::<Result<_, _>>().map_err(LedgerError::about(job, doing))
}

/// Changes that touch more jobs than this are answered without views.
const VIEWS_IN_ANSWERS: usize = 64;

/// Returns the answer that tells of these jobs.
pub(super) fn changed(connection: &Connection, jobs: &[JobId]) -> Result<Answer, LedgerError> {
    let entries = jobs.iter().map(|job| find_entry(connection, *job)).collect::<Result<_, _>>()?;
    let shown = if jobs.len() > VIEWS_IN_ANSWERS { &[] } else { jobs };
    let views = shown.iter().map(|job| view(connection, *job)).collect::<Result<_, _>>()?;
    Ok(Answer::Jobs { entries, views })
}

pub(super) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|e| LedgerError::Damaged { what, problem: e.to_string() })
}

fn from_json<T: DeserializeOwned>(job: JobId, what: &'static str, text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|e| LedgerError::Unreadable { job, problem: format!("{what}: {e}") })
}
