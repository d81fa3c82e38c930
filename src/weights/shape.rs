//! The extents of a tensor.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Extents, outermost first. No extents is a scalar; an extent of zero is an empty tensor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<u64>);

impl Shape {
    /// Returns the number of elements, or `None` where it overflows.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.0.iter().try_fold(1u64, |n, d| n.checked_mul(*d))
    }

    /// Returns the number of extents.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the extent at `axis`, or `None` beyond the last.
    #[must_use]
    pub fn dim(&self, axis: usize) -> Option<u64> {
        self.0.get(axis).copied()
    }

    /// Returns the extents as libtorch takes them.
    #[must_use]
    pub fn as_i64(&self) -> Vec<i64> {
        self.0.iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect()
    }
}

impl<const N: usize> From<[u64; N]> for Shape {
    fn from(extents: [u64; N]) -> Self {
        Self(extents.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents: Vec<_> = self.0.iter().map(u64::to_string).collect();
        write!(f, "[{}]", extents.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_elements_without_overflow() {
        assert_eq!(Shape::default().elements(), Some(1));
        assert_eq!(Shape::from([3, 0, 7]).elements(), Some(0));
        assert_eq!(Shape::from([1 << 32, 1 << 32]).elements(), None);
        assert_eq!(Shape::from([320, 4, 3, 3]).to_string(), "[320, 4, 3, 3]");
    }
}
