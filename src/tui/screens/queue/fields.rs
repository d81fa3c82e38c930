//! What filters can ask of jobs.

use crate::jobs::{JobState, JobView};
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::tui::known::Known;

/// The fields of jobs.
pub const FIELDS: &[Field] = &[
    Field::new(&["id", "job"], Kind::Number),
    Field::new(&["set", "model"], Kind::Text),
    Field::new(&["state"], Kind::Text),
    Field::new(&["owner", "user"], Kind::Text),
    Field::new(&["prompt"], Kind::Text),
    Field::new(&["device"], Kind::Text),
    Field::new(&["pri", "priority"], Kind::Number),
    Field::new(&["progress"], Kind::Share),
    Field::new(&["steps"], Kind::Number),
    Field::new(&["size"], Kind::Text),
    Field::new(&["family"], Kind::Text),
    Field::new(&["precision"], Kind::Text),
    Field::new(&["reason"], Kind::Text),
    Field::new(&["age"], Kind::Span),
    Field::new(&["temp"], Kind::Degrees),
    Field::new(&["busy"], Kind::Share),
];

/// A job and what is known beside it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The job.
    pub job: &'a JobView,
    /// What is known of its device, and the time.
    pub known: &'a Known,
}

impl Filtered for Row<'_> {
    fn line(&self) -> String {
        let JobView { job, state, spec, .. } = self.job;
        format!("{job} {state} {} {} {} {}", spec.set.name, spec.compute, spec.owner, spec.prompt)
    }

    fn value(&self, field: &str) -> Value {
        let JobView { job, state, spec, progress, reason, precision, created, failure, .. } = self.job;
        let device = || self.known.devices.iter().find(|d| d.id == spec.compute);
        match field {
            "id" => Value::Number(job.0 as f64),
            "set" => Value::text(Some(&spec.set.name)),
            "state" => Value::Texts(states(*state, self.job.cancelling)),
            "owner" => Value::text(Some(&spec.owner)),
            "prompt" => Value::text(Some(&spec.prompt)),
            "device" => Value::Text(spec.compute.to_string()),
            "pri" => Value::Number(f64::from(spec.priority)),
            "progress" => Value::number(progress.map(|p| p.ratio())),
            "steps" => Value::Number(f64::from(spec.steps)),
            "size" => Value::Text(spec.size.to_string()),
            "family" => Value::text(Some(spec.set.family.name())),
            "precision" => Value::text(precision.as_deref()),
            "reason" => Value::Texts(reason.iter().map(ToString::to_string).chain(failure.iter().map(|f| f.message.clone())).collect()),
            "age" => Value::Number(self.known.now.since(*created).as_secs_f64()),
            "temp" => Value::number(device().and_then(|d| d.temperature_c)),
            "busy" => Value::number(device().and_then(|d| d.utilization)),
            _ => Value::Unknown,
        }
    }
}

/// A state by its name, and by the word that rows show.
fn states(state: JobState, cancelling: bool) -> Vec<String> {
    let shown = match state {
        JobState::Queued => "wait",
        JobState::Running | JobState::Paused if cancelling => "stopping",
        JobState::Running => "run",
        JobState::Held | JobState::Paused | JobState::Done | JobState::Failed | JobState::Cancelled => state.name(),
    };
    vec![state.name().to_owned(), shown.to_owned()]
}
