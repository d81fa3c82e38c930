//! What a daemon finds when it starts: what waits, what was cut off, and what still wants its name.

use std::collections::HashMap;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use super::lessons;
use super::rows::{ENTRY, entry, from_json};
use super::{Entry, Ledger, LedgerError, Planned};
use crate::jobs::JobState;
use crate::jobs::state::JobStateError;
use crate::placement::Experience;
use crate::units::{JobId, RunId, Seed, Timestamp};
use crate::wire::Notice;
use crate::workflow::JobSpec;

/// What a daemon finds when it starts.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Jobs that are not finished, in the order of the queue.
    pub entries: Vec<Entry>,
    /// Runs that were cut off.
    pub unfinished: Vec<Unfinished>,
    /// Runs whose pictures are on disk and have not all got their names.
    pub unnamed: Vec<Unnamed>,
    /// Jobs in each final state.
    pub finished: HashMap<JobState, u64>,
    /// Whether the operator keeps new jobs from starting.
    pub paused: bool,
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

impl Ledger {
    /// Returns what was going on when the ledger was last closed.
    pub fn recover(&self) -> Result<Recovered, LedgerError> {
        let connection = self.connection();
        let sqlite = || LedgerError::sqlite("read the queue");
        let mut statement =
            connection.prepare(&format!("SELECT {ENTRY} FROM jobs WHERE finished IS NULL ORDER BY urgency, rank, id")).map_err(sqlite())?;
        let entries = statement.query_map([], entry).map_err(sqlite())?.collect::<Result<_, _>>().map_err(sqlite())?;
        Ok(Recovered {
            entries,
            unfinished: unfinished(connection)?,
            unnamed: unnamed(connection)?,
            finished: finished(connection)?,
            paused: paused(connection)?,
            notices: notices(connection)?,
            tag: tag(connection)?,
            experience: lessons::experience(connection)?,
        })
    }
}

fn unfinished(connection: &Connection) -> Result<Vec<Unfinished>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read cut-off runs");
    let mut statement = connection
        .prepare(
            "SELECT runs.id, runs.job, runs.started IS NOT NULL, details.spec
             FROM runs JOIN details ON details.job = runs.job WHERE runs.ended IS NULL ORDER BY runs.id",
        )
        .map_err(sqlite())?;
    let rows = statement
        .query_map([], |row| Ok((RunId(row.get(0)?), JobId(row.get(1)?), row.get::<_, bool>(2)?, row.get::<_, String>(3)?)))
        .map_err(sqlite())?;
    let mut found = Vec::new();
    for row in rows {
        let (run, job, begun, spec) = row.map_err(sqlite())?;
        let spec: JobSpec = from_json("job", &spec)?;
        found.push(Unfinished { run, job, begun, output: spec.output, batch: spec.batch });
    }
    Ok(found)
}

fn unnamed(connection: &Connection) -> Result<Vec<Unnamed>, LedgerError> {
    let sqlite = || LedgerError::sqlite("read unnamed pictures");
    let mut statement = connection
        .prepare(
            "SELECT jobs.publishing, jobs.id, images.target, images.inode, images.path, images.seed, images.width, images.height
             FROM jobs JOIN images ON images.run = jobs.publishing
             WHERE jobs.finished IS NULL AND jobs.publishing IS NOT NULL ORDER BY jobs.publishing, images.number",
        )
        .map_err(sqlite())?;
    let rows = statement
        .query_map([], |row| {
            let image = Planned {
                target: PathBuf::from(row.get::<_, String>(2)?),
                inode: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
                path: PathBuf::from(row.get::<_, String>(4)?),
                seed: Seed(row.get::<_, i64>(5)?.cast_unsigned()),
                width: row.get(6)?,
                height: row.get(7)?,
            };
            Ok((RunId(row.get(0)?), JobId(row.get(1)?), image))
        })
        .map_err(sqlite())?;
    let mut found: Vec<Unnamed> = Vec::new();
    for row in rows {
        let (run, job, image) = row.map_err(sqlite())?;
        match found.last_mut().filter(|u| u.run == run) {
            Some(unnamed) => unnamed.images.push(image),
            None => found.push(Unnamed { run, job, images: vec![image] }),
        }
    }
    Ok(found)
}

fn finished(connection: &Connection) -> Result<HashMap<JobState, u64>, LedgerError> {
    let sqlite = || LedgerError::sqlite("count jobs");
    let mut statement =
        connection.prepare("SELECT state, count(*) FROM jobs WHERE finished IS NOT NULL GROUP BY state").map_err(sqlite())?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))).map_err(sqlite())?;
    let mut counts = HashMap::new();
    for row in rows {
        let (state, count) = row.map_err(sqlite())?;
        let state = state.parse().map_err(|e: JobStateError| LedgerError::Damaged { what: "state", problem: e.to_string() })?;
        counts.insert(state, count);
    }
    Ok(counts)
}

fn tag(connection: &Connection) -> Result<String, LedgerError> {
    let sql = "SELECT value FROM settings WHERE name = 'tag'";
    connection.query_row(sql, [], |row| row.get(0)).map_err(LedgerError::sqlite("read settings"))
}

fn paused(connection: &Connection) -> Result<bool, LedgerError> {
    let sql = "SELECT value = 'yes' FROM settings WHERE name = 'paused'";
    let paused = connection.query_row(sql, [], |row| row.get(0)).optional().map_err(LedgerError::sqlite("read settings"))?;
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
    let mut notices: Vec<Notice> = rows.collect::<Result<_, _>>().map_err(sqlite())?;
    notices.reverse();
    Ok(notices)
}
