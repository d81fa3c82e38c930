//! The size of a picture.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Width and height in pixels; both positive multiples of 8, since a latent cell covers 8 × 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Sides")]
pub struct Size {
    width: u32,
    height: u32,
}

/// Two numbers that have not been checked yet.
#[derive(Deserialize)]
struct Sides {
    width: u32,
    height: u32,
}

impl TryFrom<Sides> for Size {
    type Error = SizeError;
    fn try_from(sides: Sides) -> Result<Self, SizeError> {
        Self::new(sides.width, sides.height)
    }
}

/// Why two numbers, or a text, are no picture size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not `WIDTHxHEIGHT`.
    #[error("`{text}` is not a size; write WIDTHxHEIGHT in pixels, such as 512x768")]
    NotASize {
        /// What was typed.
        text: String,
    },
    /// Not divisible by 8.
    #[error("{width}x{height} is not divisible by 8; the nearest size is {nearest}")]
    NotDivisible {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
        /// The closest size that works.
        nearest: Size,
    },
    /// Zero, or beyond [`Size::LIMIT`].
    #[error("{width}x{height} is out of range; each side is 8 to {} pixels", Size::LIMIT)]
    OutOfRange {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
}

impl Size {
    /// The longest side allowed, in pixels.
    pub const LIMIT: u32 = 16_384;
    /// Pixels per latent cell and axis.
    pub const CELL: u32 = 8;
    /// One latent cell.
    pub const SMALLEST: Self = Self { width: Self::CELL, height: Self::CELL };

    /// Returns the size, when both sides are in range and divisible by 8.
    pub fn new(width: u32, height: u32) -> Result<Self, SizeError> {
        let range = Self::CELL..=Self::LIMIT;
        if !range.contains(&width) || !range.contains(&height) {
            return Err(SizeError::OutOfRange { width, height });
        }
        if !width.is_multiple_of(Self::CELL) || !height.is_multiple_of(Self::CELL) {
            let nearest = Self { width: nearest_multiple(width), height: nearest_multiple(height) };
            return Err(SizeError::NotDivisible { width, height, nearest });
        }
        Ok(Self { width, height })
    }

    /// Returns the width in pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    #[must_use]
    pub fn height(self) -> u32 {
        self.height
    }

    /// Returns height and width in latent cells, in tensor order.
    #[must_use]
    pub fn latent(self) -> (i64, i64) {
        (i64::from(self.height / Self::CELL), i64::from(self.width / Self::CELL))
    }
}

fn nearest_multiple(side: u32) -> u32 {
    ((side + Size::CELL / 2) / Size::CELL * Size::CELL).clamp(Size::CELL, Size::LIMIT)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.width, self.height))
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let not_a_size = || SizeError::NotASize { text: text.to_owned() };
        let (width, height) = text.trim().split_once(['x', 'X', '×']).ok_or_else(not_a_size)?;
        let side = |s: &str| s.trim().parse::<u32>().map_err(|_| not_a_size());
        Self::new(side(width)?, side(height)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_size() {
        for (text, expected) in [
            ("512", "`512` is not a size; write WIDTHxHEIGHT in pixels, such as 512x768"),
            ("x", "`x` is not a size; write WIDTHxHEIGHT in pixels, such as 512x768"),
            ("513x512", "513x512 is not divisible by 8; the nearest size is 512x512"),
            ("516x767", "516x767 is not divisible by 8; the nearest size is 520x768"),
            ("0x64", "0x64 is out of range; each side is 8 to 16384 pixels"),
            ("64x99999", "64x99999 is out of range; each side is 8 to 16384 pixels"),
        ] {
            assert_eq!(text.parse::<Size>().map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_size_from_elsewhere_is_checked_too() {
        assert!(serde_json::from_str::<Size>(r#"{"width":512,"height":768}"#).is_ok());
        assert!(serde_json::from_str::<Size>(r#"{"width":513,"height":768}"#).is_err());
    }

    #[test]
    fn latent_cells_come_in_tensor_order() {
        let size: Size = "512x768".parse().unwrap();
        assert_eq!(size.latent(), (96, 64));
        assert_eq!(size.to_string(), "512x768");
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_refused(text in "([0-9]|x|X|×|-| |.){0,16}") {
            if let Ok(size) = text.parse::<Size>() {
                prop_assert!(size.width() % Size::CELL == 0 && size.height() % Size::CELL == 0);
                prop_assert!(size.width().max(size.height()) <= Size::LIMIT);
            }
        }

        #[test]
        fn sizes_read_back(w in 1u32..=2048, h in 1u32..=2048) {
            let size = Size::new(w * 8, h * 8).unwrap();
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn the_nearest_size_is_a_size(w in 8u32..=16_384, h in 8u32..=16_384) {
            if let Err(SizeError::NotDivisible { nearest, .. }) = Size::new(w, h) {
                prop_assert_eq!(Size::new(nearest.width(), nearest.height()), Ok(nearest));
            }
        }
    }
}
