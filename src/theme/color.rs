//! A colour as theme files write it: `reset`, a name of the sixteen, a number of the 256, or `"#rrggbb"`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// Whatever the terminal uses by default.
    #[default]
    Reset,
    /// One of the sixteen that the terminal's own palette defines.
    Named(Named),
    /// One of the 256 of xterm.
    Indexed(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

/// The sixteen colours, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// 0.
    Black,
    /// 1.
    Red,
    /// 2.
    Green,
    /// 3.
    Yellow,
    /// 4.
    Blue,
    /// 5.
    Magenta,
    /// 6.
    Cyan,
    /// 7.
    Gray,
    /// 8.
    DarkGray,
    /// 9.
    LightRed,
    /// 10.
    LightGreen,
    /// 11.
    LightYellow,
    /// 12.
    LightBlue,
    /// 13.
    LightMagenta,
    /// 14.
    LightCyan,
    /// 15.
    White,
}

impl Named {
    /// Every name, by number.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Black, "black"),
        (Self::Red, "red"),
        (Self::Green, "green"),
        (Self::Yellow, "yellow"),
        (Self::Blue, "blue"),
        (Self::Magenta, "magenta"),
        (Self::Cyan, "cyan"),
        (Self::Gray, "gray"),
        (Self::DarkGray, "dark_gray"),
        (Self::LightRed, "light_red"),
        (Self::LightGreen, "light_green"),
        (Self::LightYellow, "light_yellow"),
        (Self::LightBlue, "light_blue"),
        (Self::LightMagenta, "light_magenta"),
        (Self::LightCyan, "light_cyan"),
        (Self::White, "white"),
    ];
}

/// Why a text is no colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a colour; use reset, a name such as dark_gray, a number from 0 to 255, or \"#rrggbb\"")]
pub struct ColorError {
    /// What was written.
    pub text: String,
}

impl FromStr for Color {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        let unknown = || ColorError { text: text.to_owned() };
        if text == "reset" {
            return Ok(Self::Reset);
        }
        if let Some(digits) = text.strip_prefix('#') {
            let all_hex = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let channels = u32::from_str_radix(digits, 16).ok().filter(|_| all_hex).ok_or_else(unknown)?;
            let [_, r, g, b] = channels.to_be_bytes();
            return Ok(Self::Rgb(r, g, b));
        }
        if let Some((name, _)) = Named::ALL.iter().find(|(_, name)| *name == text) {
            return Ok(Self::Named(*name));
        }
        text.parse().map(Self::Indexed).map_err(|_| unknown())
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl Visitor<'_> for AsWritten {
            type Value = Color;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour: reset, a name, 0 to 255, or \"#rrggbb\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Color, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Color, E> {
                u8::try_from(number).map(Color::Indexed).map_err(|_| E::custom(ColorError { text: number.to_string() }))
            }
        }
        from.deserialize_any(AsWritten)
    }
}

impl Color {
    /// Returns red, green and blue, where they do not depend on the terminal.
    #[must_use]
    pub fn rgb(self) -> Option<(u8, u8, u8)> {
        match self {
            Self::Rgb(r, g, b) => Some((r, g, b)),
            Self::Indexed(n) if n >= 16 => Some(xterm(n)),
            Self::Indexed(_) | Self::Named(_) | Self::Reset => None,
        }
    }
}

/// The cube (16…231) and the greys (232…255) of xterm, which every terminal shares.
fn xterm(n: u8) -> (u8, u8, u8) {
    if n >= 232 {
        let grey = 8 + 10 * (n - 232);
        return (grey, grey, grey);
    }
    let level = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
    let n = n.saturating_sub(16);
    (level(n / 36), level(n / 6 % 6), level(n % 6))
}

/// Returns the nearest of the 256 that does not depend on the terminal's palette.
#[must_use]
pub fn nearest_indexed(rgb: (u8, u8, u8)) -> u8 {
    (16..=255).min_by_key(|n| distance(xterm(*n), rgb)).unwrap_or(16)
}

/// The sixteen colours as xterm draws them.
const SIXTEEN: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// Returns the nearest of the sixteen.
#[must_use]
pub fn nearest_named(rgb: (u8, u8, u8)) -> Named {
    let nearest = Named::ALL.iter().zip(SIXTEEN).min_by_key(|(_, candidate)| distance(*candidate, rgb));
    nearest.map_or(Named::Gray, |((name, _), _)| *name)
}

/// Squared distance, weighted as eyes weigh the channels.
fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    2 * square(a.0, b.0) + 4 * square(a.1, b.1) + 3 * square(a.2, b.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_four_ways_of_writing() {
        for (text, expected) in [
            ("reset", Color::Reset),
            ("dark_gray", Color::Named(Named::DarkGray)),
            ("214", Color::Indexed(214)),
            ("\"#0a64ff\"", Color::Rgb(10, 100, 255)),
        ] {
            assert_eq!(serde_yaml::from_str::<Color>(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn names_what_is_no_colour() {
        for bad in ["\"#12345\"", "\"#12345é\"", "\"#+12345\"", "mauve", "256", "-1", "[1]"] {
            let error = serde_yaml::from_str::<Color>(bad).unwrap_err().to_string();
            assert!(error.contains("colour"), "{bad}: {error}");
        }
    }

    #[test]
    fn falls_back_to_what_is_near() {
        assert_eq!(nearest_named((250, 250, 10)), Named::LightYellow);
        assert_eq!(nearest_named((10, 0, 0)), Named::Black);
        assert_eq!(nearest_indexed((95, 135, 175)), 67);
        assert_eq!(nearest_indexed((128, 128, 128)), 244);
        for n in 16..=255 {
            assert_eq!(xterm(nearest_indexed(xterm(n))), xterm(n));
        }
    }
}
