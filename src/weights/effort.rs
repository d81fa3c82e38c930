//! How much a block computes, and what kind of computing that is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of computing a block is mostly made of: devices are not equally good at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Convolutions over a feature map.
    Convolution,
    /// Attention with the matrices around it.
    Attention,
    /// Two matrices with an activation between them.
    FeedForward,
}

impl BlockKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Convolution, Self::Attention, Self::FeedForward];

    /// Returns its name in writing.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Convolution => "convolution",
            Self::Attention => "attention",
            Self::FeedForward => "feed-forward",
        }
    }
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of block")]
pub struct BlockKindError(pub String);

impl FromStr for BlockKind {
    type Err = BlockKindError;

    fn from_str(text: &str) -> Result<Self, BlockKindError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| BlockKindError(text.to_owned()))
    }
}

/// The floating-point operations of a block, of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effort([f64; BlockKind::ALL.len()]);

impl Effort {
    /// Returns so many operations of one kind.
    #[must_use]
    pub fn of(kind: BlockKind, flops: f64) -> Self {
        let mut effort = Self::default();
        effort.add(kind, flops);
        effort
    }

    /// Adds operations.
    pub fn add(&mut self, kind: BlockKind, flops: f64) {
        self.0[kind as usize] += flops;
    }

    /// Returns the operations of one kind.
    #[must_use]
    pub fn flops_of(&self, kind: BlockKind) -> f64 {
        self.0[kind as usize]
    }

    /// Returns the operations of all kinds.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Returns what one of so many equal parts of it is.
    #[must_use]
    pub fn over(&self, parts: u64) -> Self {
        Self(self.0.map(|flops| flops / parts.max(1) as f64))
    }

    /// Returns the kind that most of them are of.
    #[must_use]
    pub fn kind(&self) -> BlockKind {
        let most = BlockKind::ALL.into_iter().max_by(|a, b| self.flops_of(*a).total_cmp(&self.flops_of(*b)));
        most.unwrap_or(BlockKind::Convolution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_is_of_the_kind_that_it_mostly_is() {
        let mut effort = Effort::of(BlockKind::Attention, 2.0);
        effort.add(BlockKind::Convolution, 1.0);
        assert_eq!((effort.kind(), effort.flops()), (BlockKind::Attention, 3.0));
        for kind in BlockKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("magic".parse::<BlockKind>().unwrap_err().to_string(), "`magic` is no kind of block");
    }
}
