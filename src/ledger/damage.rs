//! What is left of a job whose record cannot be read: it was damaged, or a later version of this program wrote it.
//!
//! Such a job is set aside as failed and named; all others go on. What its record holds is not touched, so
//! that whoever can read it finds it.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::rows::{changed, images, parsed, priority, to_json};
use super::{Answer, Entry, LedgerError, history};
use crate::families::Family;
use crate::jobs::{Failure, JobRow, JobState, JobView, Rank};
use crate::placement::{OffloadAsk, PartAsks};
use crate::prompt::{Dialect, Weighting};
use crate::sampling::{Prediction, Sampler, Schedule};
use crate::units::{DeviceId, JobId, Seed, Size, Timestamp};
use crate::workflow::{JobSpec, Kind, ModelSet, Named, Passes, Tiling};

/// Returns why a job failed that nobody can read.
fn failure(problem: &str) -> Failure {
    Failure { kind: Kind::Failed, message: message(problem), hint: Some(LedgerError::UNREADABLE_HINT.to_owned()), log: Vec::new() }
}

fn message(problem: &str) -> String {
    format!("its record cannot be read: {problem}")
}

/// Fails a job that nobody can read. Columns that others sort and count by are given values of their kind.
pub(super) fn set_aside(connection: &Connection, job: JobId, problem: &str, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("set a job aside");
    let mut update =
        connection.prepare("UPDATE runs SET ended = ?2, ending = 'failed', exit = ?3 WHERE job = ?1 AND ended IS NULL").map_err(sqlite())?;
    update.execute(params![job.0, now.0, message(problem)]).map_err(sqlite())?;
    let mut update = connection
        .prepare(
            "UPDATE jobs SET state = 'failed', cancelling = 0, publishing = NULL,
                urgency = CASE typeof(urgency) WHEN 'integer' THEN urgency ELSE 0 END,
                rank = CASE typeof(rank) WHEN 'integer' THEN rank ELSE 0 END,
                finished = CASE typeof(finished) WHEN 'integer' THEN finished ELSE ?2 END
             WHERE id = ?1",
        )
        .map_err(sqlite())?;
    if update.execute(params![job.0, now.0]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoJob(job));
    }
    let mut update = connection.prepare("UPDATE details SET failure = ?2 WHERE job = ?1").map_err(sqlite())?;
    update.execute(params![job.0, to_json("failure", &failure(problem))?]).map_err(sqlite())?;
    history::event(connection, now, "fail", Some(job), &message(problem))?;
    changed(connection, &[job])
}

/// Returns what keeps a job out of the queue.
pub(super) fn entry(job: JobId) -> Entry {
    Entry {
        job,
        state: JobState::Failed,
        priority: 0,
        rank: Rank(0),
        device: DeviceId::Cpu,
        cancelling: false,
        crashes: 0,
        deaths: 0,
        created: Timestamp(0),
        conversion: None,
    }
}

/// Returns the line of a job in a list, which says what is wrong where the prompt would be.
pub(super) fn line(row: &Row<'_>, problem: &str) -> rusqlite::Result<(JobRow, Rank)> {
    let job = JobRow {
        job: JobId(row.get(0)?),
        state: parsed(row, 1).unwrap_or(JobState::Failed),
        priority: row.get(2).map_or(0, priority),
        model: row.get(4).unwrap_or_default(),
        prompt: message(problem),
        owner: row.get(6).unwrap_or_default(),
        created: Timestamp(row.get(7).unwrap_or_default()),
        finished: row.get::<_, Option<i64>>(8).unwrap_or_default().map(Timestamp),
    };
    Ok((job, Rank(row.get(3).unwrap_or_default())))
}

/// Returns what a job's line in the list tells, and what is wrong with the rest.
pub(super) fn view(connection: &Connection, job: JobId, problem: &str) -> Result<JobView, LedgerError> {
    let doing = "read what is left of a job";
    let sql = "SELECT state, urgency, attempts, created, started, finished, device, model, prompt, owner FROM jobs WHERE id = ?1";
    let mut statement = connection.prepare(sql).map_err(LedgerError::sqlite(doing))?;
    let view = statement.query_row([job.0], |row| {
        let text = |column| row.get::<_, String>(column).unwrap_or_default();
        let time = |column| row.get::<_, Option<i64>>(column).unwrap_or_default().map(Timestamp);
        let spec = JobSpec {
            prompt: text(8),
            priority: row.get(1).map_or(0, priority),
            compute: parsed(row, 6).unwrap_or(DeviceId::Cpu),
            owner: text(9),
            ..unknown(text(7))
        };
        Ok(JobView {
            job,
            state: parsed(row, 0).unwrap_or(JobState::Failed),
            reason: None,
            cancelling: false,
            spec,
            progress: None,
            attempts: row.get(2).unwrap_or_default(),
            created: time(3).unwrap_or(Timestamp(0)),
            started: time(4),
            finished: time(5),
            images: Vec::new(),
            timing: None,
            placement: None,
            precision: None,
            warnings: Vec::new(),
            failure: Some(failure(problem)),
        })
    });
    let mut view = view.map_err(LedgerError::sqlite(doing))?;
    if view.state == JobState::Done {
        // Its pictures are there; where they are may be readable though all else is not.
        view.images = images(connection, job).unwrap_or_default();
    }
    Ok(view)
}

/// Returns a job of which nothing is known but the model's name: it has no steps, which no other has.
fn unknown(model: String) -> JobSpec {
    JobSpec {
        set: ModelSet { name: model, family: Family::Sd15, variant: String::new(), components: Vec::new(), vocabularies: BTreeMap::new() },
        named: Named::default(),
        conversion: None,
        prompt: String::new(),
        negative: String::new(),
        dialect: Dialect::default(),
        weighting: Weighting::default(),
        steps: 0,
        cfg: 0.0,
        guidance: None,
        cfg_rescale: 0.0,
        shift: None,
        sampler: Sampler::Euler,
        schedule: Schedule::Normal,
        prediction: Prediction::Epsilon,
        seed: Seed(0),
        size: Size::SMALLEST,
        batch: 0,
        precision: None,
        init: None,
        tiling: Tiling::Auto,
        passes: Passes::default(),
        keep_latents: false,
        output: std::path::PathBuf::new(),
        priority: 0,
        compute: DeviceId::Cpu,
        offload: OffloadAsk::default(),
        parts: PartAsks::default(),
        owner: String::new(),
        notes: Vec::new(),
    }
}
