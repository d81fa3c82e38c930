//! What filters can ask of finished pictures.

use crate::jobs::{JobRow, JobView};
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::units::Timestamp;

/// The fields of pictures. Of jobs of which no more than their line is known, some are not known yet.
pub const FIELDS: &[Field] = &[
    Field::new(&["id", "job"], Kind::Number),
    Field::new(&["set", "model"], Kind::Text),
    Field::new(&["prompt"], Kind::Text),
    Field::new(&["owner", "user"], Kind::Text),
    Field::new(&["size"], Kind::Text),
    Field::new(&["width"], Kind::Number),
    Field::new(&["height"], Kind::Number),
    Field::new(&["steps"], Kind::Number),
    Field::new(&["cfg"], Kind::Number),
    Field::new(&["seed"], Kind::Number),
    Field::new(&["precision"], Kind::Text),
    Field::new(&["device"], Kind::Text),
    Field::new(&["file", "path"], Kind::Text),
    Field::new(&["took"], Kind::Span),
    Field::new(&["age"], Kind::Span),
];

/// A finished job, and the time at which it is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// One of which everything is known.
    Whole(&'a JobView, Timestamp),
    /// One of which its line is.
    Listed(&'a JobRow, Timestamp),
}

impl Filtered for Beside<'_> {
    fn line(&self) -> String {
        match self {
            Self::Listed(row, _) => format!("{} {} {}", row.job, row.model, row.prompt),
            Self::Whole(job, _) => {
                let paths: Vec<String> = job.images.iter().map(|i| i.path.display().to_string()).collect();
                format!("{} {} {} {} {}", job.job, job.spec.set.name, job.spec.size, job.spec.prompt, paths.join(" "))
            }
        }
    }

    fn value(&self, field: &str) -> Value {
        match self {
            Self::Listed(row, now) => of_row(row, *now, field),
            Self::Whole(job, now) => of_job(job, *now, field),
        }
    }
}

fn age(finished: Option<Timestamp>, now: Timestamp) -> Value {
    Value::number(finished.map(|at| now.since(at).as_secs_f64()))
}

fn of_row(row: &JobRow, now: Timestamp, field: &str) -> Value {
    match field {
        "id" => Value::Number(row.job.0 as f64),
        "set" => Value::text(Some(&row.model)),
        "prompt" => Value::text(Some(&row.prompt)),
        "owner" => Value::text(Some(&row.owner)),
        "age" => age(row.finished, now),
        _ => Value::Unknown,
    }
}

fn of_job(job: &JobView, now: Timestamp, field: &str) -> Value {
    let spec = &job.spec;
    match field {
        "id" => Value::Number(job.job.0 as f64),
        "set" => Value::text(Some(&spec.set.name)),
        "prompt" => Value::text(Some(&spec.prompt)),
        "owner" => Value::text(Some(&spec.owner)),
        "size" => Value::Text(spec.size.to_string()),
        "width" => Value::number(job.images.first().map(|image| f64::from(image.width))),
        "height" => Value::number(job.images.first().map(|image| f64::from(image.height))),
        "steps" => Value::Number(f64::from(spec.steps)),
        "cfg" => Value::Number(spec.cfg),
        "seed" => Value::Number(spec.seed.0 as f64),
        "precision" => Value::text(job.precision.as_deref()),
        "device" => Value::Text(spec.compute.to_string()),
        "file" => Value::Texts(job.images.iter().map(|image| image.path.display().to_string()).collect()),
        "took" => Value::number(job.timing.as_ref().map(|timing| timing.total)),
        "age" => age(job.finished, now),
        _ => Value::Unknown,
    }
}
