//! What a daemon finds when it starts: what waits, what was cut off, and what still wants its name.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::Deserialize;

use super::error::is_nonsense;
use super::lessons;
use super::queue::Pausable;
use super::rows::{ENTRY, entry, read_spec};
use super::{Entry, Ledger, LedgerError, Planned};
use crate::jobs::JobState;
use crate::placement::Experience;
use crate::units::{JobId, RunId, Seed, Timestamp};
use crate::wire::Notice;

/// What a daemon finds when it starts.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Jobs that are not finished, in the order of the queue.
    pub entries: Vec<Entry>,
    /// Runs that were cut off.
    pub unfinished: Vec<Unfinished>,
    /// Runs whose pictures are on disk and have not all got their names.
    pub unnamed: Vec<Unnamed>,
    /// Jobs that nobody can run, since their records cannot be read. They are nowhere else in here.
    pub unreadable: Vec<Unreadable>,
    /// Jobs in each final state.
    pub finished: HashMap<JobState, u64>,
    /// Whether the operator keeps new jobs from starting.
    pub paused: bool,
    /// Whether the operator keeps conversions from going on.
    pub conversions_paused: bool,
    /// The last things to hear of, oldest first.
    pub notices: Vec<Notice>,
    /// What tells this ledger's hidden files from those of others.
    pub tag: String,
    /// What runs have shown of this box.
    pub experience: Experience,
}

/// A run that was cut off by the daemon's end.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// The attempt.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// Whether an engine had begun it.
    pub begun: bool,
    /// The folder its images were to go to.
    pub output: PathBuf,
    /// How many there were to be.
    pub batch: u32,
}

/// A job whose record makes no sense: it was damaged, or a later version wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The job.
    pub job: JobId,
    /// What is wrong with its record.
    pub problem: String,
}

/// A run whose pictures are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// The attempt.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// The pictures.
    pub images: Vec<Planned>,
}

/// Notices that a new daemon shows again.
const NOTICES: u32 = 20;

/// What is wrong with the records of some jobs.
type Problems = BTreeMap<JobId, String>;

impl Ledger {
    /// Returns what was going on when the ledger was last closed. A job that cannot be read stands in no other's way.
    pub fn recover(&self) -> Result<Recovered, LedgerError> {
        let connection = self.connection();
        let mut problems = Problems::new();
        let mut entries = entries(connection, &mut problems)?;
        let mut unnamed = unnamed(connection, &mut problems)?;
        let finished = finished(connection, &mut problems)?;
        entries.retain(|entry| !problems.contains_key(&entry.job));
        unnamed.retain(|unnamed| !problems.contains_key(&unnamed.job));
        Ok(Recovered {
            entries,
            unfinished: unfinished(connection)?,
            unnamed,
            unreadable: problems.into_iter().map(|(job, problem)| Unreadable { job, problem }).collect(),
            finished,
            paused: paused(connection, Pausable::Queue)?,
            conversions_paused: paused(connection, Pausable::Conversions)?,
            notices: notices(connection)?,
            tag: tag(connection)?,
            experience: lessons::experience(connection)?,
        })
    }
}

fn entries(connection: &Connection, problems: &mut Problems) -> Result<Vec<Entry>, LedgerError> {
    let doing = "read the queue";
    let mut statement = connection
        .prepare(&format!(
            "SELECT {ENTRY}, publishing IS NOT NULL, spec FROM jobs LEFT JOIN details ON details.job = jobs.id
             WHERE finished IS NULL ORDER BY urgency, rank, id"
        ))
        .map_err(LedgerError::sqlite(doing))?;
    let mut rows = statement.query([]).map_err(LedgerError::sqlite(doing))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(LedgerError::sqlite(doing))? {
        let job = row.get(0).map(JobId).map_err(LedgerError::sqlite(doing))?;
        match waiting(job, row) {
            Ok(entry) => found.push(entry),
            Err(LedgerError::Unreadable { job, problem }) => drop(problems.insert(job, problem)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn waiting(job: JobId, row: &Row<'_>) -> Result<Entry, LedgerError> {
    let about = || LedgerError::about(job, "read the queue");
    let entry = entry(row).map_err(about())?;
    // One whose pictures are there will never be run again, so it need not be known how.
    if !row.get::<_, bool>(10).map_err(about())? {
        read_spec(job, row.get::<_, Option<String>>(11).map_err(about())?.as_deref())?;
    }
    Ok(entry)
}

/// Where a run's pictures were to go, which may be readable where all the rest is not.
#[derive(Deserialize)]
struct Whereto {
    output: PathBuf,
    batch: u32,
}

fn unfinished(connection: &Connection) -> Result<Vec<Unfinished>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read cut-off runs");
    let mut statement = connection
        .prepare(
            "SELECT runs.id, runs.job, runs.started IS NOT NULL, CAST(details.spec AS BLOB)
             FROM runs JOIN details ON details.job = runs.job WHERE runs.ended IS NULL ORDER BY runs.id",
        )
        .map_err(sqlite())?;
    let rows = statement
        .query_map([], |row| Ok((RunId(row.get(0)?), JobId(row.get(1)?), row.get::<_, bool>(2)?, row.get::<_, Vec<u8>>(3)?)))
        .map_err(sqlite())?;
    let mut found = Vec::new();
    for row in rows {
        let (run, job, begun, spec) = row.map_err(sqlite())?;
        // Of a job that is set aside this may be all that is known, or not even this; then there is nothing to remove.
        if let Ok(Whereto { output, batch }) = serde_json::from_slice(&spec) {
            found.push(Unfinished { run, job, begun, output, batch });
        }
    }
    Ok(found)
}

fn unnamed(connection: &Connection, problems: &mut Problems) -> Result<Vec<Unnamed>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read unnamed pictures");
    let mut statement = connection
        .prepare(
            "SELECT jobs.publishing, jobs.id, images.target, images.inode, images.path, images.seed, images.width, images.height
             FROM jobs JOIN images ON images.run = jobs.publishing
             WHERE jobs.finished IS NULL AND jobs.publishing IS NOT NULL ORDER BY jobs.publishing, images.number",
        )
        .map_err(sqlite())?;
    let mut rows = statement.query([]).map_err(sqlite())?;
    let mut found: Vec<Unnamed> = Vec::new();
    while let Some(row) = rows.next().map_err(sqlite())? {
        let (run, job) = (row.get(0).map(RunId).map_err(sqlite())?, row.get(1).map(JobId).map_err(sqlite())?);
        match planned(row) {
            Ok(image) => match found.last_mut().filter(|u| u.run == run) {
                Some(unnamed) => unnamed.images.push(image),
                None => found.push(Unnamed { run, job, images: vec![image] }),
            },
            Err(error) if is_nonsense(&error) => drop(problems.insert(job, format!("its pictures: {error}"))),
            Err(error) => return Err(sqlite()(error)),
        }
    }
    Ok(found)
}

fn planned(row: &Row<'_>) -> rusqlite::Result<Planned> {
    Ok(Planned {
        target: PathBuf::from(row.get::<_, String>(2)?),
        inode: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        path: PathBuf::from(row.get::<_, String>(4)?),
        seed: Seed(row.get::<_, i64>(5)?.cast_unsigned()),
        width: row.get(6)?,
        height: row.get(7)?,
    })
}

fn finished(connection: &Connection, problems: &mut Problems) -> Result<HashMap<JobState, u64>, LedgerError> {
    let sqlite = || LedgerError::sqlite("count jobs");
    let mut statement =
        connection.prepare("SELECT CAST(state AS BLOB), count(*) FROM jobs WHERE finished IS NOT NULL GROUP BY state").map_err(sqlite())?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))).map_err(sqlite())?;
    let mut counts = HashMap::new();
    for row in rows {
        let (name, count) = row.map_err(sqlite())?;
        match JobState::ALL.iter().find(|s| s.is_final() && s.name().as_bytes() == name) {
            Some(state) => drop(counts.insert(*state, count)),
            None => unheard_of(connection, &name, problems)?,
        }
    }
    Ok(counts)
}

/// Notes the jobs that have ended in a way that nobody has heard of.
fn unheard_of(connection: &Connection, state: &[u8], problems: &mut Problems) -> Result<(), LedgerError> {
    let sqlite = || LedgerError::sqlite("count jobs");
    let sql = "SELECT id FROM jobs WHERE finished IS NOT NULL AND CAST(state AS BLOB) = ?1";
    let mut statement = connection.prepare(sql).map_err(sqlite())?;
    let jobs = statement.query_map([state], |row| row.get(0).map(JobId)).map_err(sqlite())?;
    for job in jobs {
        problems.insert(job.map_err(sqlite())?, format!("`{}` is no state that a job ends in", String::from_utf8_lossy(state)));
    }
    Ok(())
}

fn tag(connection: &Connection) -> Result<String, LedgerError> {
    let sql = "SELECT value FROM settings WHERE name = 'tag'";
    connection.query_row(sql, [], |row| row.get(0)).map_err(LedgerError::sqlite("read settings"))
}

fn paused(connection: &Connection, what: Pausable) -> Result<bool, LedgerError> {
    let sql = "SELECT value = 'yes' FROM settings WHERE name = ?1";
    let paused = connection.query_row(sql, [what.setting()], |row| row.get(0)).optional().map_err(LedgerError::sqlite("read settings"))?;
    Ok(paused.unwrap_or(false))
}

fn notices(connection: &Connection) -> Result<Vec<Notice>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read events");
    // Looking at the last few only keeps this quick, however many there are.
    let sql = "SELECT time, level, job, text FROM (SELECT * FROM events ORDER BY id DESC LIMIT 1000)
               WHERE level <> 'info' ORDER BY id DESC LIMIT ?1";
    let mut statement = connection.prepare(sql).map_err(sqlite())?;
    let rows = statement
        .query_map([NOTICES], |row| {
            let job = row.get::<_, Option<i64>>(2)?.map(JobId);
            Ok(Notice { time: Timestamp(row.get(0)?), level: row.get(1)?, text: row.get(3)?, job })
        })
        .map_err(sqlite())?;
    // What was said and cannot be read any more is not said again.
    let readable = rows.filter(|row| row.as_ref().err().is_none_or(|e| !is_nonsense(e)));
    let mut notices: Vec<Notice> = readable.collect::<Result<_, _>>().map_err(sqlite())?;
    notices.reverse();
    Ok(notices)
}
