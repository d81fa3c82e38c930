//! Numbers as the original reads and rounds them.

use super::error::CompatError;

const KIB: f64 = 1024.0;

/// 1024³, what the original calls a gigabyte.
pub const GIB: f64 = KIB * KIB * KIB;

/// Reads a number as Python's `float` does.
pub fn float(text: &str) -> Result<f64, CompatError> {
    let trimmed = text.trim();
    let digit = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_digit());
    let bytes = trimmed.as_bytes();
    let separates = |at: usize| at > 0 && digit(bytes.get(at - 1).copied()) && digit(bytes.get(at + 1).copied());
    let fine = trimmed.match_indices('_').all(|(at, _)| separates(at));
    let number = fine.then(|| trimmed.replace('_', "").parse().ok()).flatten();
    number.ok_or_else(|| CompatError::NotANumber { text: text.to_owned() })
}

/// Reads an amount: digits, perhaps decimals, perhaps the first letter of a unit. What follows is not looked at,
/// so `1tb` is one byte; a part of a byte is an amount, too.
pub fn amount(text: &str) -> Result<f64, CompatError> {
    let text = text.trim();
    let digits = |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| from + n);
    let whole = digits(0);
    if whole == 0 {
        return Err(CompatError::NotANumber { text: text.to_owned() });
    }
    // A point may end a number: `2.gb` is two gibibytes.
    let end = if text[whole..].starts_with('.') { digits(whole + 1) } else { whole };
    let scale = match text[end..].trim_start().bytes().next().map(|c| c.to_ascii_lowercase()) {
        Some(b'k') => KIB,
        Some(b'm') => KIB * KIB,
        Some(b'g') => GIB,
        Some(_) | None => 1.0,
    };
    Ok(float(&text[..end])? * scale)
}

/// Returns the number that four decimals leave of it. Both languages round the exact binary value, ties to even.
#[must_use]
pub fn four_decimals(value: f64) -> f64 {
    format!("{value:.4}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_all_their_surprises() {
        for (text, bytes) in [
            ("2.5gb", 2.5 * GIB),
            ("1GiB", GIB),
            ("500mb", 500.0 * KIB * KIB),
            ("3 k", 3.0 * KIB),
            ("7b", 7.0),
            ("1tb", 1.0),
            ("1e3mb", 1.0),
            ("50%", 50.0),
            ("0.05", 0.05),
            ("5.", 5.0),
            ("2.gb", 2.0 * GIB),
            ("2. gb", 2.0 * GIB),
            ("2.x5gb", 2.0),
        ] {
            assert_eq!(amount(text), Ok(bytes), "{text}");
        }
        for text in ["", ".5gb", "-1gb", "gb"] {
            assert_eq!(amount(text).map_err(|e| e.kind()), Err("ValueError"), "{text}");
        }
    }

    #[test]
    fn numbers_are_python_s() {
        assert_eq!(float(" 1_000.5 "), Ok(1000.5));
        assert_eq!(float(".5"), Ok(0.5));
        for text in ["", "*", "1__0", "_1", "1_", "0x10", "1 0"] {
            assert!(float(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ties_of_the_binary_value_go_to_the_even_digit() {
        let shown = |value: f64| four_decimals(value).to_string();
        assert_eq!([0.03125, 0.09375, 0.078_125, 0.000_05].map(shown), ["0.0312", "0.0938", "0.0781", "0.0001"]);
    }
}
