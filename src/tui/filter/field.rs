//! What can be asked of rows: fields, their kinds, and values as they are written.

use crate::units::Bytes;

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A number without a unit.
    Number,
    /// Bytes; written `4GiB`.
    Bytes,
    /// A share, 0…1; written `90%` or `0.9`.
    Share,
    /// Seconds; written `45s`, `20m`, `3h`, `7d`, `2w`, `1h30m`.
    Span,
    /// Degrees Celsius; written `80` or `80C`.
    Degrees,
    /// `yes` or `no`, as 1 and 0.
    Flag,
    /// One of these words, as its place among them; the least first.
    Rank(&'static [&'static str]),
}

/// A field of the rows of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its names, the one to show first.
    pub names: &'static [&'static str],
    /// What its values are.
    pub kind: Kind,
}

impl Field {
    /// Returns a field.
    #[must_use]
    pub const fn new(names: &'static [&'static str], kind: Kind) -> Self {
        Self { names, kind }
    }

    /// Returns the name to show.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
}

/// What a row has in a field, in the unit of the field's kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// Several texts, each of which may be meant.
    Texts(Vec<String>),
    /// A number.
    Number(f64),
    /// It is not known.
    Unknown,
}

impl Value {
    /// Returns a text, or the empty one.
    #[must_use]
    pub fn text(text: Option<&str>) -> Self {
        Self::Text(text.unwrap_or_default().to_owned())
    }

    /// Returns a number, or that it is not known.
    #[must_use]
    pub fn number(number: Option<f64>) -> Self {
        number.map_or(Self::Unknown, Self::Number)
    }

    /// Returns a number of bytes.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self::Number(bytes.get() as f64)
    }

    /// Returns a yes or a no.
    #[must_use]
    pub fn flag(is: bool) -> Self {
        Self::Number(f64::from(u8::from(is)))
    }
}

/// A value as a filter asks for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// A text, in small letters.
    Text(String),
    /// A number, and how far what rounds to it may be from it.
    Number {
        /// The number.
        value: f64,
        /// Half of its last digit.
        half: f64,
    },
}

/// Units of spans and their seconds.
const SPANS: &[(&str, f64)] = &[("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];

impl Kind {
    /// Returns whether its values are ordered.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Text | Self::Flag)
    }

    /// Returns whether a word can be the unit of a number before it.
    #[must_use]
    pub fn has_unit(self, word: &str) -> bool {
        match self {
            Self::Bytes => word != "b" && format!("1{word}").parse::<Bytes>().is_ok(),
            Self::Span => SPANS.iter().any(|(unit, _)| *unit == word),
            Self::Share => word == "%",
            Self::Degrees => matches!(word, "C" | "°C"),
            Self::Text | Self::Number | Self::Flag | Self::Rank(_) => false,
        }
    }

    /// Reads a value; the error says what can be written.
    pub fn read(self, text: &str) -> Result<Wanted, String> {
        let exact = |value: f64| Wanted::Number { value, half: 0.0 };
        match self {
            Self::Text => Ok(Wanted::Text(text.to_lowercase())),
            Self::Number => number(text, 1.0).ok_or_else(|| format!("`{text}` is no number")),
            Self::Bytes => bytes(text),
            Self::Share => share(text),
            Self::Span => span(text),
            Self::Degrees => {
                let digits = text.strip_suffix("°C").or_else(|| text.strip_suffix(['C', 'c'])).unwrap_or(text);
                number(digits, 1.0).ok_or_else(|| format!("`{text}` is no temperature; write 80 or 80C"))
            }
            Self::Flag => match text.to_lowercase().as_str() {
                "yes" | "true" => Ok(exact(1.0)),
                "no" | "false" => Ok(exact(0.0)),
                _ => Err(format!("`{text}` is neither yes nor no")),
            },
            Self::Rank(words) => match words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
                Some(place) => Ok(exact(place as f64)),
                None => Err(format!("`{text}` is none of {}", words.join(", "))),
            },
        }
    }
}

/// A plain number, scaled: what rounds to it is up to half of its last digit away.
fn number(text: &str, scale: f64) -> Option<Wanted> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let half = 0.5 * 0.1_f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
    Some(Wanted::Number { value: value * scale, half: half * scale })
}

/// The number at the beginning of a text, and what follows it.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len()))
}

fn bytes(text: &str) -> Result<Wanted, String> {
    let (digits, unit) = split(text);
    let scale = format!("1{}", unit.trim()).parse::<Bytes>().ok();
    let read = scale.and_then(|scale| number(digits, scale.get() as f64));
    match read {
        // Nobody means four bytes.
        Some(_) if unit.is_empty() && digits.chars().any(|c| c.is_ascii_digit() && c != '0') => {
            Err(format!("{text} of what? write {text}GiB or {text}MiB"))
        }
        Some(wanted) => Ok(wanted),
        None => Err(format!("`{text}` is no size; write 4GiB, 500MB")),
    }
}

fn share(text: &str) -> Result<Wanted, String> {
    let wrong = || format!("`{text}` is no share; write 90% or 0.9");
    let read = match text.strip_suffix('%') {
        Some(percent) => number(percent.trim_end(), 0.01),
        None => match number(text, 1.0) {
            // More than the whole can only be meant as a percentage.
            Some(Wanted::Number { value, .. }) if value > 1.0 => number(text, 0.01),
            read => read,
        },
    };
    read.ok_or_else(wrong)
}

fn span(text: &str) -> Result<Wanted, String> {
    let wrong = || format!("`{text}` is no time; write 45s, 20m, 3h, 7d or 1h30m");
    let (mut rest, mut sum, mut last) = (text, 0.0, None);
    while !rest.is_empty() {
        let (digits, after) = split(rest);
        let (unit, scale) = SPANS.iter().find(|(unit, _)| after.trim_start().starts_with(unit)).ok_or_else(|| match digits {
            whole if whole == text && !whole.is_empty() => format!("{text} of what? write {text}d, {text}h or {text}m"),
            _ => wrong(),
        })?;
        let Some(Wanted::Number { value, half }) = number(digits, *scale) else { return Err(wrong()) };
        sum += value;
        last = Some(half);
        rest = &after.trim_start()[unit.len()..];
    }
    last.map(|half| Wanted::Number { value: sum, half }).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        let check = |kind: Kind, text: &str, expected: f64| {
            let Ok(Wanted::Number { value, .. }) = kind.read(text) else { panic!("{text}: {:?}", kind.read(text)) };
            assert!((value - expected).abs() <= expected.abs() * 1e-12, "{text} is {value}");
        };
        check(Kind::Bytes, "4GiB", 4.0 * 1_073_741_824.0);
        check(Kind::Bytes, "1.5 g", 1.5 * 1_073_741_824.0);
        check(Kind::Bytes, "500MB", 5e8);
        check(Kind::Bytes, "0", 0.0);
        check(Kind::Share, "90%", 0.9);
        check(Kind::Share, "0.9", 0.9);
        check(Kind::Share, "90", 0.9);
        check(Kind::Span, "7d", 604_800.0);
        check(Kind::Span, "1h30m", 5400.0);
        check(Kind::Span, "1.5h", 5400.0);
        check(Kind::Degrees, "80C", 80.0);
        check(Kind::Degrees, "80.5", 80.5);
        check(Kind::Number, "-3", -3.0);
        check(Kind::Flag, "Yes", 1.0);
        check(Kind::Rank(&["info", "warn"]), "WARN", 1.0);
    }

    #[test]
    fn what_is_no_value_is_told_what_is() {
        let check = |kind: Kind, text: &str, expected: &str| {
            let told = kind.read(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        };
        check(Kind::Bytes, "4", "4 of what? write 4GiB or 4MiB");
        check(Kind::Bytes, "big", "`big` is no size; write 4GiB");
        check(Kind::Bytes, "4parsec", "is no size");
        check(Kind::Span, "7", "7 of what? write 7d, 7h or 7m");
        check(Kind::Span, "7y", "is no time");
        check(Kind::Span, "", "is no time");
        check(Kind::Share, "most", "write 90% or 0.9");
        check(Kind::Number, "1e3", "is no number");
        check(Kind::Number, "1.2.3", "is no number");
        check(Kind::Number, ".", "is no number");
        check(Kind::Flag, "maybe", "neither yes nor no");
        check(Kind::Rank(&["info", "warn"]), "loud", "none of info, warn");
        check(Kind::Degrees, "warm", "write 80 or 80C");
    }
}
