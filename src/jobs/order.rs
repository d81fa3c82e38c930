//! The order of waiting jobs: priority first, then a rank that can be changed.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::JobId;

/// A place within one priority. Ranks are sparse, so that a job can be put between two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(pub i64);

impl Rank {
    /// Distance between the ranks of two jobs that were submitted one after another.
    pub const GAP: i64 = 1 << 20;

    /// Returns the rank after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(Self::GAP))
    }

    /// Returns a rank between two neighbours, or `None` where they touch and all must be spread anew.
    #[must_use]
    pub fn between(before: Option<Self>, after: Option<Self>) -> Option<Self> {
        match (before, after) {
            (None, None) => Some(Self(0)),
            (Some(b), None) => Some(b.next()),
            (None, Some(a)) => Some(Self(a.0.saturating_sub(Self::GAP))),
            (Some(b), Some(a)) => {
                let middle = Self(b.0 + (a.0 - b.0) / 2);
                (middle > b && middle < a).then_some(middle)
            }
        }
    }
}

/// Where a waiting job is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// One place forward.
    Up,
    /// One place back.
    Down,
    /// In front of all of its priority.
    First,
    /// Behind all of its priority.
    Last,
    /// In front of that job, whose priority it takes.
    Before(JobId),
}

/// Why a text names no place to move to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place to move to; use up, down, first, last or before:JOB")]
pub struct MoveError {
    /// What was typed.
    pub text: String,
}

impl FromStr for Move {
    type Err = MoveError;
    fn from_str(text: &str) -> Result<Self, MoveError> {
        let unknown = || MoveError { text: text.to_owned() };
        match text {
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            "first" | "top" => Ok(Self::First),
            "last" | "bottom" => Ok(Self::Last),
            _ => text.strip_prefix("before:").and_then(|job| job.parse().ok()).map(Self::Before).ok_or_else(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rank_between_two_lies_between_them(a in -1i64 << 40..1i64 << 40, b in -1i64 << 40..1i64 << 40) {
            let (low, high) = (Rank(a.min(b)), Rank(a.max(b)));
            match Rank::between(Some(low), Some(high)) {
                Some(middle) => prop_assert!(low < middle && middle < high),
                None => prop_assert!(high.0 - low.0 < 2),
            }
        }
    }

    #[test]
    fn reads_places() {
        assert_eq!("before:12".parse(), Ok(Move::Before(JobId(12))));
        assert_eq!("top".parse(), Ok(Move::First));
        assert!("sideways".parse::<Move>().is_err());
    }
}
