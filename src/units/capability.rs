//! Which instructions an NVIDIA GPU has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The compute capability of an NVIDIA GPU, `8.9`: the generation of its instructions (CUDA C++ Programming Guide, "Compute
/// Capabilities").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// The generation.
    pub major: u32,
    /// The member of it.
    pub minor: u32,
}

/// A text that is no compute capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a compute capability; write one such as 8.9")]
pub struct CapabilityError {
    /// What was written.
    pub text: String,
}

impl Capability {
    /// Returns the capability of these two numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let read = |(major, minor): (&str, &str)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? });
        text.split_once('.').and_then(read).ok_or_else(|| CapabilityError { text: text.to_owned() })
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_a_dot_and_ordered_by_generation() {
        let capability: Capability = serde_json::from_str("\"12.0\"").unwrap();
        assert_eq!((capability, capability.to_string()), (Capability::new(12, 0), "12.0".to_owned()));
        assert!(capability > Capability::new(8, 9) && Capability::new(8, 9) > Capability::new(8, 6));
        for wrong in ["", "8", "8.", "8.9.1", "a.b", "-8.9"] {
            assert!(wrong.parse::<Capability>().is_err(), "{wrong}");
        }
    }
}
