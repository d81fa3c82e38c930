//! A number with nine decimals, exact, so that shares come out the same on every machine.

use std::fmt;

use crate::units::Bytes;

/// How many of its parts make one.
const ONE: u64 = 1_000_000_000;

/// Decimals kept; further ones are cut off.
const DECIMALS: usize = 9;

/// A number that is not negative, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(u64);

impl Decimal {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(ONE);
    /// 100.
    pub const HUNDRED: Self = Self(100 * ONE);

    /// Returns the number of so many billionths.
    #[must_use]
    pub const fn billionths(n: u64) -> Self {
        Self(n)
    }

    /// Returns its billionths.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads digits, perhaps with a point; `None` where it is something else or too large.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |t: &str| t.bytes().all(|c| c.is_ascii_digit());
        if whole.is_empty() && decimals.is_empty() || !digits(whole) || !digits(decimals) {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let kept: String = decimals.chars().chain(std::iter::repeat('0')).take(DECIMALS).collect();
        whole.checked_mul(ONE)?.checked_add(kept.parse().ok()?).map(Self)
    }

    /// Returns this share of `whole`, where `all` is the whole of it; rounded down.
    #[must_use]
    pub fn share_of(self, whole: Bytes, all: u128) -> Bytes {
        part_of(whole, u128::from(self.0), all)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:09}", self.0 % ONE);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        f.pad(&format!("{}{point}{decimals}", self.0 / ONE))
    }
}

/// `whole` × `part` / `all`, rounded down.
pub(super) fn part_of(whole: Bytes, part: u128, all: u128) -> Bytes {
    let bytes = u128::from(whole.get()).checked_mul(part).and_then(|n| n.checked_div(all));
    Bytes(bytes.and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_exact() {
        let third = Decimal::read("33.333333333").unwrap();
        assert_eq!(third.share_of(Bytes(3_000_000_000), u128::from(Decimal::HUNDRED.get())), Bytes(999_999_999));
        assert_eq!(Decimal::ONE.share_of(Bytes(u64::MAX), u128::from(ONE)), Bytes(u64::MAX));
        assert_eq!(Decimal::read("0.1234567899").unwrap().to_string(), "0.123456789");
        for text in ["", ".", "1.2.3", "-1", "1e3", "18446744074", "x"] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_read_back(n in any::<u64>()) {
            prop_assert_eq!(Decimal::read(&Decimal(n).to_string()), Some(Decimal(n)));
        }
    }
}
