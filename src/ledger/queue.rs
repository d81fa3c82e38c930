//! Changes to waiting jobs.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{changed, to_json, urgency, whole_entry, whole_view};
use super::{Answer, LedgerError, history};
use crate::families::Component;
use crate::jobs::{JobState, Rank};
use crate::placement::{FullAsk, OffloadAsk};
use crate::units::{JobId, RunId, Timestamp};
use crate::workflow::JobSpec;

/// Characters of the prompt that lists show.
const PROMPT_HEAD: usize = 96;

pub(super) fn append(connection: &Connection, spec: &JobSpec, held: bool, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("append a job");
    let state = if held { JobState::Held } else { JobState::Queued };
    let rank = last_rank(connection, spec.priority)?;
    let mut insert = connection
        .prepare_cached(
            "INSERT INTO jobs (state, urgency, rank, device, model, prompt, owner, created, conversion)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(sqlite())?;
    let device = spec.compute.to_string();
    let (head, conversion) = (prompt_head(&spec.prompt), spec.conversion.as_ref().map(|c| to_json("conversion", c)).transpose()?);
    let row = params![state.name(), urgency(spec.priority), rank.0, device, spec.set.name, head, spec.owner, now.0, conversion];
    let id = insert.insert(row).map_err(sqlite())?;
    let json = to_json("job", spec)?;
    let mut insert = connection.prepare_cached("INSERT INTO details (job, spec) VALUES (?1, ?2)").map_err(sqlite())?;
    insert.execute(params![id, json]).map_err(sqlite())?;
    history::event(connection, now, "info", Some(JobId(id)), "submitted")?;
    changed(connection, &[JobId(id)])
}

/// Returns the rank behind all waiting jobs of this priority.
fn last_rank(connection: &Connection, priority: i32) -> Result<Rank, LedgerError> {
    let sqlite = || LedgerError::sqlite("find the end of the queue");
    let mut last = connection
        .prepare_cached("SELECT rank FROM jobs WHERE finished IS NULL AND urgency = ?1 ORDER BY rank DESC LIMIT 1")
        .map_err(sqlite())?;
    let last = last.query_row([urgency(priority)], |row| row.get(0).map(Rank)).optional().map_err(sqlite())?;
    Ok(last.map_or(Rank(0), Rank::next))
}

/// Returns the prompt's beginning in one line, without characters that a terminal would obey.
fn prompt_head(prompt: &str) -> String {
    prompt.chars().map(|c| if c.is_control() { ' ' } else { c }).take(PROMPT_HEAD).collect()
}

pub(super) fn set(connection: &Connection, job: JobId, state: JobState, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("change a job's state");
    let mut update = connection.prepare_cached("UPDATE jobs SET state = ?2 WHERE id = ?1 AND finished IS NULL").map_err(sqlite())?;
    if update.execute(params![job.0, state.name()]).map_err(sqlite())? == 0 {
        return Err(LedgerError::NoJob(job));
    }
    history::event(connection, now, "info", Some(job), state.name())?;
    changed(connection, &[job])
}

pub(super) fn want_cancel(connection: &Connection, jobs: &[JobId], now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("note a cancellation");
    for job in jobs {
        let mut update = connection.prepare_cached("UPDATE jobs SET cancelling = 1 WHERE id = ?1 AND finished IS NULL").map_err(sqlite())?;
        update.execute([job.0]).map_err(sqlite())?;
        history::event(connection, now, "info", Some(*job), "cancelling")?;
    }
    changed(connection, jobs)
}

pub(super) fn cancel(connection: &Connection, jobs: &[JobId], run: Option<RunId>, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("cancel a job");
    if let Some(run) = run {
        super::runs::end(connection, run, "cancelled", None, now)?;
    }
    for job in jobs {
        let mut update = connection
            .prepare_cached("UPDATE jobs SET state = 'cancelled', cancelling = 0, finished = ?2 WHERE id = ?1 AND finished IS NULL")
            .map_err(sqlite())?;
        update.execute(params![job.0, now.0]).map_err(sqlite())?;
        history::event(connection, now, "info", Some(*job), "cancelled")?;
    }
    changed(connection, jobs)
}

pub(super) fn retry(connection: &Connection, jobs: &[JobId], now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("retry a job");
    for job in jobs {
        // One that cannot be read could not be run either.
        whole_view(connection, *job)?;
        let rank = last_rank(connection, whole_entry(connection, *job)?.priority)?;
        let mut update = connection
            .prepare_cached(
                "UPDATE jobs SET state = 'queued', cancelling = 0, crashes = 0, deaths = 0, started = NULL, finished = NULL, rank = ?2
                 WHERE id = ?1 AND state IN ('failed', 'cancelled')",
            )
            .map_err(sqlite())?;
        if update.execute(params![job.0, rank.0]).map_err(sqlite())? == 0 {
            // Somebody else was faster.
            continue;
        }
        let mut update = connection
            .prepare_cached(
                "UPDATE details SET timing = NULL, placement = NULL, precision = NULL, warnings = NULL, failure = NULL WHERE job = ?1",
            )
            .map_err(sqlite())?;
        update.execute([job.0]).map_err(sqlite())?;
        history::event(connection, now, "info", Some(*job), "to be tried again")?;
    }
    changed(connection, jobs)
}

pub(super) fn place(connection: &Connection, places: &[(JobId, i32, Rank)]) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("move a job");
    let mut update =
        connection.prepare_cached("UPDATE jobs SET urgency = ?2, rank = ?3 WHERE id = ?1 AND finished IS NULL").map_err(sqlite())?;
    for (job, priority, rank) in places {
        update.execute(params![job.0, urgency(*priority), rank.0]).map_err(sqlite())?;
    }
    let jobs: Vec<JobId> = places.iter().map(|p| p.0).collect();
    changed(connection, &jobs)
}

pub(super) fn rebudget(connection: &Connection, job: JobId, ask: &OffloadAsk, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("change what a job offloads");
    let mut spec = whole_view(connection, job)?.spec;
    spec.offload = ask.clone();
    let mut update = connection.prepare_cached("UPDATE details SET spec = ?2 WHERE job = ?1").map_err(sqlite())?;
    update.execute(params![job.0, to_json("job", &spec)?]).map_err(sqlite())?;
    let text = format!("offloads `{}` from now on", FullAsk { compute: spec.compute, ask: ask.clone() }.with_pins());
    history::event(connection, now, "info", Some(job), &text)?;
    changed(connection, &[job])
}

/// Notes that what jobs need converted lies there now, and is the diffusion network that they run; without a component, it is the
/// one that they have.
pub(super) fn converted(
    connection: &Connection,
    jobs: &[JobId],
    result: &Path,
    component: Option<&Component>,
    now: Timestamp,
) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("note a conversion");
    for job in jobs {
        // One that cannot be read will be found out when it is assigned.
        let Ok(mut spec) = whole_view(connection, *job).map(|view| view.spec) else { continue };
        let Some(conversion) = &mut spec.conversion else { continue };
        conversion.result = Some(result.to_owned());
        let text = to_json("conversion", conversion)?;
        if let Some(component) = component {
            spec.set.replace(component.clone());
        }
        let mut update = connection.prepare_cached("UPDATE details SET spec = ?2 WHERE job = ?1").map_err(sqlite())?;
        update.execute(params![job.0, to_json("job", &spec)?]).map_err(sqlite())?;
        let mut update = connection.prepare_cached("UPDATE jobs SET conversion = ?2 WHERE id = ?1").map_err(sqlite())?;
        update.execute(params![job.0, text]).map_err(sqlite())?;
        history::event(connection, now, "info", Some(*job), &format!("converted: {}", result.display()))?;
    }
    changed(connection, jobs)
}

/// What an operator keeps from going on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pausable {
    Queue,
    Conversions,
}

impl Pausable {
    /// Returns the name under which it is kept.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Self::Queue => "paused",
            Self::Conversions => "conversions paused",
        }
    }
}

pub(super) fn pause(connection: &Connection, what: Pausable, paused: bool, now: Timestamp) -> Result<Answer, LedgerError> {
    let sqlite = || LedgerError::sqlite("keep what is paused");
    let mut write = connection.prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)").map_err(sqlite())?;
    write.execute([what.setting(), if paused { "yes" } else { "no" }]).map_err(sqlite())?;
    let told = match (what, paused) {
        (Pausable::Queue, true) => "the queue is paused",
        (Pausable::Queue, false) => "the queue goes on",
        (Pausable::Conversions, true) => "conversions are paused",
        (Pausable::Conversions, false) => "conversions go on",
    };
    history::event(connection, now, "info", None, told)?;
    Ok(Answer::Done)
}
