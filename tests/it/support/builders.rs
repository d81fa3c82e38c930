//! Jobs for tests, said as far as a test cares.

use perilune::units::{JobId, Seed};
use perilune::workflow::JobDraft;
use serde_json::{Value, json};

/// The model that every test home has.
pub(crate) const MODEL: &str = "night";

/// A job of one step, made in a moment.
pub(crate) fn a_job() -> JobDraft {
    let size = "64x64".parse().ok();
    let seed = Some(Seed(7));
    JobDraft { model: MODEL.to_owned(), prompt: "a moon".to_owned(), steps: Some(1), size, seed, ..JobDraft::default() }
}

/// A job during which the fake engine behaves like this.
pub(crate) fn scripted(script: &Value) -> JobDraft {
    JobDraft { prompt: script.to_string(), ..a_job() }
}

/// A job that goes on until it is stopped.
pub(crate) fn endless() -> JobDraft {
    JobDraft { steps: Some(1000), ..scripted(&json!({"step_ms": 100})) }
}

pub(crate) fn ids(numbers: impl IntoIterator<Item = i64>) -> Vec<JobId> {
    numbers.into_iter().map(JobId).collect()
}
