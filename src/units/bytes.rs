//! A number of bytes, and how people write one.
//!
//! `4GiB`, `512 MiB`, `1.5g` and `2048` are binary, as memory sizes are; `4GB`, `500MB` are the
//! decimal ones of disks. What is printed always carries an `i`, so that it can be read back.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes. Sums saturate: a total that does not fit is "too much", never small again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Why a text is no byte size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BytesError {
    /// Nothing, or no digits, before the unit.
    #[error("`{text}` has no number")]
    NoNumber {
        /// What was typed.
        text: String,
    },
    /// The unit is none we know.
    #[error("`{unit}` is not a unit of bytes; use B, KiB, MiB, GiB, TiB, or KB, MB, GB, TB")]
    UnknownUnit {
        /// The unit as typed.
        unit: String,
    },
    /// Larger than 2⁶⁴ − 1 bytes.
    #[error("`{text}` is larger than any memory")]
    TooLarge {
        /// What was typed.
        text: String,
    },
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// Returns `n` kibibytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(KIB))
    }

    /// Returns `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(MIB))
    }

    /// Returns `n` gibibytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(GIB))
    }

    /// Returns the number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the sum, or `None` where it overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns what is left after taking `other`, at least zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns the size in GiB, for display and ratios.
    #[must_use]
    pub fn as_gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }

    /// Returns `self / whole`, or 0 of nothing.
    #[must_use]
    pub fn ratio_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.0 as f64 / whole.0 as f64 }
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            n if n >= TIB => (TIB, "TiB"),
            n if n >= GIB => (GIB, "GiB"),
            n if n >= MIB => (MIB, "MiB"),
            n if n >= KIB => (KIB, "KiB"),
            n => return f.pad(&format!("{n} B")),
        };
        f.pad(&format!("{:.1} {name}", self.0 as f64 / unit as f64))
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim();
        let scale = scale_of(unit).ok_or_else(|| BytesError::UnknownUnit { unit: unit.to_owned() })?;
        let no_number = || BytesError::NoNumber { text: text.to_owned() };
        let too_large = || BytesError::TooLarge { text: text.to_owned() };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or_else(too_large);
        }
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return Err(no_number());
        }
        if !number.contains('.') {
            return Err(too_large());
        }
        let value: f64 = number.parse().map_err(|_| no_number())?;
        let bytes = (value * scale as f64).round();
        if bytes >= u64::MAX as f64 {
            return Err(too_large());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against u64::MAX; digits are never negative")]
        let bytes = bytes as u64;
        Ok(Self(bytes))
    }
}

fn scale_of(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => KIB,
        "m" | "mi" | "mib" => MIB,
        "g" | "gi" | "gib" => GIB,
        "t" | "ti" | "tib" => TIB,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: u64) {
        assert_eq!(text.parse::<Bytes>(), Ok(Bytes(expected)), "{text}");
    }

    #[test]
    fn reads_what_people_write() {
        check("0", 0);
        check("2048", 2048);
        check("4GiB", 4 << 30);
        check("4 gib", 4 << 30);
        check("4Gi", 4 << 30);
        check("512 mi", 512 << 20);
        check("1.5g", 3 << 29);
        check("512MiB", 512 << 20);
        check("4GB", 4_000_000_000);
        check(".5KiB", 512);
        check(" 7 b ", 7);
        check("18446744073709551615", u64::MAX);
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, expected) in [
            ("", "`` has no number"),
            ("GiB", "`GiB` has no number"),
            (".", "`.` has no number"),
            ("1.2.3G", "`1.2.3G` has no number"),
            ("4 giga", "`giga` is not a unit of bytes; use B, KiB, MiB, GiB, TiB, or KB, MB, GB, TB"),
            ("-1", "`-1` is not a unit of bytes; use B, KiB, MiB, GiB, TiB, or KB, MB, GB, TB"),
            ("18446744073709551616", "`18446744073709551616` is larger than any memory"),
            ("99999999999TiB", "`99999999999TiB` is larger than any memory"),
            ("99999999999.5TiB", "`99999999999.5TiB` is larger than any memory"),
        ] {
            assert_eq!(text.parse::<Bytes>().map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn shows_one_decimal_and_a_binary_unit() {
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes::mib(1536).to_string(), "1.5 GiB");
        assert_eq!(format!("{:>9}", Bytes::kib(2)), "  2.0 KiB");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            // The result does not matter here; that there is one does.
            drop(text.parse::<Bytes>());
        }

        #[test]
        fn what_is_shown_reads_back_within_its_decimals(n in any::<u64>()) {
            let back: Bytes = Bytes(n).to_string().parse().unwrap();
            let unit = [TIB, GIB, MIB, KIB].into_iter().find(|u| n >= *u).unwrap_or(1);
            prop_assert!(back.0.abs_diff(n) <= unit / 16 || back.0 == n);
        }

        #[test]
        fn sums_never_wrap(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(Bytes(a) + Bytes(b) >= Bytes(a).max(Bytes(b)));
            prop_assert_eq!(Bytes(a).checked_add(Bytes(b)).is_none(), a.checked_add(b).is_none());
        }
    }
}
