//! The number a picture grows from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A seed of torch's CPU generator. The same seed, settings and batch size give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The largest seed drawn at random: JSON readers keep integers exact up to 2⁵³ − 1.
    pub const LARGEST_RANDOM: u64 = (1 << 53) - 1;

    /// Returns a random seed made from any bits, small enough for every JSON reader.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::LARGEST_RANDOM)
    }

    /// Returns the seed of image `k` of a batch: each has its own, so it can be made again alone.
    #[must_use]
    pub fn of_image(self, k: u32) -> Self {
        Self(self.0.wrapping_add(u64::from(k)))
    }

    /// Returns the generator's argument; torch takes the same 64 bits as a signed number.
    #[must_use]
    pub fn as_torch(self) -> i64 {
        self.0.cast_signed()
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Seed {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn seeds_read_back(n in any::<u64>()) {
            prop_assert_eq!(Seed(n).to_string().parse(), Ok(Seed(n)));
            let json = serde_json::to_string(&Seed(n)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Seed>(&json).unwrap(), Seed(n));
        }

        #[test]
        fn any_text_is_a_seed_or_refused(text in "([0-9]|[-+ .e]|.){0,24}") {
            drop(text.parse::<Seed>());
        }
    }
}
