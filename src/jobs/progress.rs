//! How far a running job is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an engine is doing for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before an engine has it: its diffusion network is converted. Steps are hundredths of that.
    Converting,
    /// The engine was given the job.
    Starting,
    /// Weights are read.
    Loading,
    /// The prompt, and the picture to start from, are encoded.
    Encoding,
    /// Noise is taken away, step by step.
    Sampling,
    /// Latents become pictures.
    Decoding,
    /// Pictures are written.
    Saving,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Converting => "converting",
            Self::Starting => "starting",
            Self::Loading => "loading",
            Self::Encoding => "encoding",
            Self::Sampling => "sampling",
            Self::Decoding => "decoding",
            Self::Saving => "saving",
        })
    }
}

/// How far a running job is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Steps finished.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// Median seconds of the finished steps.
    pub step_s: Option<f64>,
}

impl Progress {
    /// Returns the progress of a job that an engine was just given.
    #[must_use]
    pub fn starting(steps: u32) -> Self {
        Self { phase: Phase::Starting, step: 0, steps, step_s: None }
    }

    /// Returns the finished share, 0…1.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        f64::from(self.step.min(self.steps)) / f64::from(self.steps.max(1))
    }

    /// Returns the seconds that the remaining steps will take, once a step has been timed.
    #[must_use]
    pub fn eta_s(&self) -> Option<f64> {
        self.step_s.map(|s| s * f64::from(self.steps.saturating_sub(self.step)))
    }
}

/// Returns the median, or `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_left() {
        let progress = Progress { phase: Phase::Sampling, step: 5, steps: 20, step_s: Some(2.0) };
        assert_eq!(progress.eta_s(), Some(30.0));
        assert!((progress.ratio() - 0.25).abs() < 1e-12);
        assert_eq!(Progress::starting(3).eta_s(), None, "nothing was timed yet");
    }

    #[test]
    fn the_median_of_few() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
