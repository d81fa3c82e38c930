//! What came of a conversion, as it is told.

use std::path::Path;

use super::Outcome;
use crate::cache::{Errors, Manifest};
use crate::quant::precision::Target;
use crate::wire::conversion::{ConvertErrors, WorstTensor};
use crate::wire::{ConvertStatus, ConvertedView};

impl Outcome {
    /// Returns what is told of it. `seconds` is what it took.
    #[must_use]
    pub fn view(&self, source: &Path, target: &Target, seconds: f64) -> ConvertedView {
        let (status, path, manifest, reason) = match self {
            Self::Converted { path, manifest, resumed, replaced } => {
                let resumed = (resumed.0 > 0).then(|| format!("went on from {} of {} chunks", resumed.0, resumed.1));
                (ConvertStatus::Converted, path, manifest, resumed.or_else(|| replaced.map(|r| format!("made again: {r}"))))
            }
            Self::Restored { path, manifest } => (ConvertStatus::Restored, path, manifest, Some("from the back-up".to_owned())),
            Self::Cached { path, manifest } => (ConvertStatus::Cached, path, manifest, None),
            Self::Skipped { precision, bytes } => {
                return ConvertedView {
                    source: source.to_owned(),
                    output: source.to_owned(),
                    from: precision.clone(),
                    to: target.to_string(),
                    status: ConvertStatus::Skipped,
                    reason: Some(format!("it is {precision} already")),
                    source_bytes: *bytes,
                    output_bytes: *bytes,
                    seconds,
                    tensors: None,
                    error: None,
                };
            }
        };
        let Manifest { from, to, source_bytes, bytes, tensors, error, .. } = manifest;
        ConvertedView {
            source: source.to_owned(),
            output: path.clone(),
            from: from.clone(),
            to: to.clone(),
            status,
            reason,
            source_bytes: *source_bytes,
            output_bytes: *bytes,
            seconds,
            tensors: Some(*tensors as u64),
            error: Some(errors(error)),
        }
    }
}

fn errors(errors: &Errors) -> ConvertErrors {
    let Errors { rel_l2_max, rel_l2_mean, clipped, not_a_number, worst } = errors.clone();
    let worst = worst.into_iter().map(|w| WorstTensor { tensor: w.tensor, rel_l2: w.rel_l2 }).collect();
    ConvertErrors { rel_l2_max, rel_l2_mean, clipped, not_a_number, worst }
}
