//! Lists of jobs, events, and forgetting.
//!
//! A page starts where the one before ended, found through an index, so the last page of a long list
//! costs what the first does. Unfinished jobs come first, in the order of the queue; then finished
//! ones, the newest first.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::rows::{LINE, find_entry, line, urgency, view};
use super::{Amiss, Answer, LedgerError};
use crate::jobs::{JobRow, JobState, Rank};
use crate::units::{JobId, Timestamp};
use crate::wire::Cursor;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Among unfinished jobs: urgency, rank and number.
    Waiting(i64, i64, i64),
    /// Among finished jobs: time and number.
    Finished(i64, i64),
}

impl Place {
    const FIRST_WAITING: Self = Self::Waiting(i64::MIN, i64::MIN, i64::MIN);
    const FIRST_FINISHED: Self = Self::Finished(i64::MAX, i64::MAX);

    fn of(row: &JobRow, rank: Rank) -> Self {
        match row.finished {
            Some(at) => Self::Finished(at.0, row.job.0),
            None => Self::Waiting(urgency(row.priority), rank.0, row.job.0),
        }
    }

    fn cursor(self) -> Cursor {
        Cursor(match self {
            Self::Waiting(urgency, rank, id) => format!("w.{urgency}.{rank}.{id}"),
            Self::Finished(at, id) => format!("f.{at}.{id}"),
        })
    }

    fn parse(cursor: &Cursor) -> Result<Self, LedgerError> {
        let unknown = || LedgerError::Cursor(cursor.0.clone());
        let (kind, rest) = cursor.0.split_once('.').ok_or_else(unknown)?;
        let numbers: Vec<i64> = rest.split('.').map(|n| n.parse().map_err(|_| unknown())).collect::<Result<_, _>>()?;
        match (kind, numbers.as_slice()) {
            ("w", [urgency, rank, id]) => Ok(Self::Waiting(*urgency, *rank, *id)),
            ("f", [at, id]) => Ok(Self::Finished(*at, *id)),
            _ => Err(unknown()),
        }
    }
}

pub(super) fn list(connection: &Connection, states: &[JobState], after: Option<&Cursor>, limit: u32) -> Result<Answer, LedgerError> {
    let limit = limit as usize;
    let wanted = |is_final: bool| states.is_empty() || states.iter().any(|s| s.is_final() == is_final);
    let start = after.map_or(Ok(Place::FIRST_WAITING), Place::parse)?;
    // One more than asked for tells whether there is another page.
    let mut rows = Vec::new();
    if matches!(start, Place::Waiting(..)) && wanted(false) {
        rows = page(connection, states, start, limit + 1)?;
    }
    if rows.len() <= limit && wanted(true) {
        let start = if matches!(start, Place::Waiting(..)) { Place::FIRST_FINISHED } else { start };
        rows.extend(page(connection, states, start, limit + 1 - rows.len())?);
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(row, rank)| Place::of(row, *rank).cursor());
    Ok(Answer::Page { rows: rows.into_iter().map(|(row, _)| row).collect(), next })
}

fn page(connection: &Connection, states: &[JobState], start: Place, limit: usize) -> Result<Vec<(JobRow, Rank)>, LedgerError> {
    let sqlite = || LedgerError::sqlite("list jobs");
    // State names are our own words, so they need no quoting.
    let names: Vec<String> = states.iter().map(|s| format!("'{s}'")).collect();
    let only = if names.is_empty() { String::new() } else { format!("AND state IN ({})", names.join(",")) };
    let (sql, mut values) = match start {
        Place::Waiting(urgency, rank, id) => (
            format!(
                "SELECT {LINE} FROM jobs WHERE finished IS NULL AND (urgency, rank, id) > (?1, ?2, ?3) {only}
                 ORDER BY urgency, rank, id LIMIT ?4"
            ),
            vec![urgency, rank, id],
        ),
        Place::Finished(at, id) => (
            format!(
                "SELECT {LINE} FROM jobs WHERE finished IS NOT NULL AND (finished, id) < (?1, ?2) {only}
                 ORDER BY finished DESC, id DESC LIMIT ?3"
            ),
            vec![at, id],
        ),
    };
    values.push(i64::try_from(limit).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(&sql).map_err(sqlite())?;
    let rows = statement.query_map(params_from_iter(values.into_iter().map(Value::Integer)), line).map_err(sqlite())?;
    rows.collect::<Result<_, _>>().map_err(sqlite())
}

pub(super) fn views(
    connection: &Connection,
    jobs: &[JobId],
    unfinished: u32,
    finished: u32,
    amiss: Option<Amiss>,
) -> Result<Answer, LedgerError> {
    let mut all = jobs.to_vec();
    for (first, limit) in [(Place::FIRST_WAITING, unfinished as usize), (Place::FIRST_FINISHED, finished as usize)] {
        if limit > 0 {
            // Those that were named may be among them.
            let rows = page(connection, &[], first, limit + jobs.len())?;
            all.extend(rows.into_iter().map(|(row, _)| row.job).filter(|job| !jobs.contains(job)).take(limit));
        }
    }
    if let Some(amiss) = amiss {
        let wrong = went_wrong(connection, amiss)?;
        all.extend(wrong.into_iter().filter(|job| !all.contains(job)).collect::<Vec<_>>());
    }
    let entries = all.iter().map(|job| find_entry(connection, *job)).collect::<Result<_, _>>()?;
    let views = all.iter().map(|job| view(connection, *job)).collect::<Result<_, _>>()?;
    Ok(Answer::Jobs { entries, views })
}

/// The jobs that failed or left a warning, the last one first. Where there are too many, those that failed are among them.
fn went_wrong(connection: &Connection, amiss: Amiss) -> Result<Vec<JobId>, LedgerError> {
    let sqlite = || LedgerError::sqlite("list jobs");
    let mut statement = connection
        .prepare_cached(
            "SELECT id FROM (
               SELECT id, finished FROM jobs LEFT JOIN details ON details.job = jobs.id
               WHERE finished IS NOT NULL AND finished >= ?1 AND (state = ?2 OR state = ?3 AND warnings <> '[]')
               ORDER BY state = ?2 DESC, finished DESC, id DESC LIMIT ?4)
             ORDER BY finished DESC, id DESC",
        )
        .map_err(sqlite())?;
    let wanted = params![amiss.since.0, JobState::Failed.name(), JobState::Done.name(), amiss.most];
    let ids = statement.query_map(wanted, |row| row.get(0).map(JobId)).map_err(sqlite())?;
    ids.collect::<Result<_, _>>().map_err(sqlite())
}

pub(super) fn clear(connection: &Connection, states: &[JobState]) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("forget jobs");
    let states = if states.is_empty() { &[JobState::Done, JobState::Failed, JobState::Cancelled] } else { states };
    let mut gone = Vec::new();
    for state in states {
        let mut delete =
            connection.prepare_cached("DELETE FROM jobs WHERE state = ?1 AND finished IS NOT NULL RETURNING id").map_err(sqlite())?;
        let ids = delete.query_map([state.name()], |row| row.get(0).map(JobId)).map_err(sqlite())?;
        for id in ids {
            gone.push((id.map_err(sqlite())?, *state));
        }
    }
    Ok(Answer::Cleared(gone))
}

pub(super) fn event(connection: &Connection, time: Timestamp, level: &str, job: Option<JobId>, text: &str) -> Result<(), LedgerError> {
    let sqlite = || LedgerError::sqlite("note an event");
    let mut insert = connection.prepare_cached("INSERT INTO events (time, level, job, text) VALUES (?1, ?2, ?3, ?4)").map_err(sqlite())?;
    insert.execute(params![time.0, level, job.map(|j| j.0), text]).map_err(sqlite())?;
    Ok(())
}
