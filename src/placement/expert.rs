//! How much goes where, as it is typed: an allocation alone, or a whole string of the original.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ask::FullAsk;
use super::error::AllocationError;
use super::expression::Allocation;

/// How much goes where, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expert {
    /// An allocation alone.
    Alone(Allocation),
    /// All that the original says in one string.
    Full(FullAsk),
}

impl FromStr for Expert {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        // No device and no amount has this sign.
        if text.contains('#') { text.parse().map(Self::Full) } else { text.parse().map(Self::Alone) }
    }
}

impl Display for Expert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(allocation) => allocation.fmt(f),
            Self::Full(full) => full.fmt(f),
        }
    }
}

impl Serialize for Expert {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expert {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
