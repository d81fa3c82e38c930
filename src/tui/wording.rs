//! Numbers and texts as screens write them: short, and without anything that a terminal would obey.

use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::devices::Memory;
use crate::theme::Glyphs;
use crate::units::Bytes;

/// What stands where a value cannot be read.
pub const ABSENT: &str = "--";
/// What stands where a value has not been heard yet.
pub const PENDING: &str = "...";

/// Returns the text in one line and harmless: no control characters, no marks that turn the writing direction, and nothing of which
/// terminals disagree how wide it is.
#[must_use]
pub fn clean(text: &str) -> String {
    one_line(text).chars().filter(|c| !is_uncertain(*c)).map(|c| flag_letter(c).unwrap_or(c)).collect()
}

/// Returns the text in one line and harmless, but with all of its letters. Every end of a line is one space, and nothing is left of
/// what would have moved a cursor or changed a colour.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\r' => {
                line.push(' ');
                after.strip_prefix('\n').unwrap_or(after)
            }
            '\n' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                line.push(' ');
                after
            }
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => after,
            c if c.is_control() => after_sequence(c, after).unwrap_or_else(|| {
                line.push('?');
                after
            }),
            c => {
                line.push(c);
                after
            }
        };
    }
    line
}

/// Returns what stands behind a sequence that a terminal obeys as a whole, if this letter begins one.
fn after_sequence(first: char, after: &str) -> Option<&str> {
    let (kind, inside) = match first {
        '\u{1b}' => (after.chars().next()?, after.get(1..)?),
        '\u{9b}' => ('[', after),
        '\u{90}' => ('P', after),
        '\u{9d}' => (']', after),
        _ => return None,
    };
    match kind {
        '[' => {
            let end = inside.trim_start_matches(|c: char| ('\u{20}'..='\u{3f}').contains(&c));
            Some(end.strip_prefix(|c: char| ('@'..='~').contains(&c)).unwrap_or(end))
        }
        // What has no end takes nothing else with it.
        ']' | 'P' | 'X' | '^' | '_' => {
            let ends = ["\u{7}", "\u{1b}\\", "\u{9c}"].into_iter().filter_map(|end| inside.find(end).map(|at| at + end.len()));
            Some(ends.min().map_or(inside, |end| &inside[end..]))
        }
        _ => None,
    }
}

/// Returns whether terminals disagree what becomes of the letter before this one: what joins emoji, and shades or changes them.
fn is_uncertain(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{20e3}' | '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns the plain letter of one that makes a flag with another: two of them are one picture here and two there.
fn flag_letter(c: char) -> Option<char> {
    let place = u32::from(c).checked_sub(0x1f1e6).filter(|place| *place < 26)?;
    char::from_u32(u32::from('A') + place)
}

/// Returns the columns that a letter takes once its text is clean.
#[must_use]
pub fn letter_width(c: char) -> usize {
    if is_uncertain(c) { 0 } else { UnicodeWidthChar::width(flag_letter(c).unwrap_or(c)).unwrap_or(0) }
}

/// Returns the columns that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Returns the text, cut to so many columns, with a mark where it was cut.
#[must_use]
pub fn cut(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(glyphs.ellipsis));
    let mut taken = 0;
    let mut short = String::with_capacity(columns + 4);
    for c in text.chars() {
        let wide = UnicodeWidthChar::width(c).unwrap_or(0);
        if taken + wide > room {
            break;
        }
        taken += wide;
        short.push(c);
    }
    if columns > 0 {
        short.push_str(glyphs.ellipsis);
    }
    short
}

/// Returns the last columns of a text, with a mark where its beginning was cut off.
#[must_use]
pub fn tail(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(glyphs.ellipsis));
    let mut taken = 0;
    let kept: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            taken += UnicodeWidthChar::width(*c).unwrap_or(0);
            taken <= room
        })
        .collect();
    let mark = if columns > 0 { glyphs.ellipsis } else { "" };
    format!("{mark}{}", kept.into_iter().rev().collect::<String>())
}

/// Returns a size in GiB without its unit: one decimal below a hundred, two where one would say nothing.
#[must_use]
pub fn gib(bytes: Bytes) -> String {
    let gib = bytes.as_gib();
    match gib {
        _ if bytes == Bytes::ZERO || (0.095..99.95).contains(&gib) => format!("{gib:.1}"),
        _ if gib < 0.095 => format!("{gib:.2}"),
        _ => format!("{gib:.0}"),
    }
}

/// Returns a speed, given in bytes per second.
#[must_use]
pub fn speed(bytes_per_second: f64) -> String {
    #[expect(clippy::cast_sign_loss, reason = "it is not below zero")]
    let bytes = Bytes(bytes_per_second.max(0.0) as u64);
    format!("{bytes}/s")
}

/// Returns `used/total` in GiB.
#[must_use]
pub fn used_of(memory: Memory) -> String {
    format!("{}/{}", gib(memory.used), gib(memory.total))
}

/// Returns a share, 0…1, as a percentage.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0)
}

/// Returns a time that runs, such as what is left of a job: `0:21`, `1:02:03`.
#[must_use]
pub fn countdown(seconds: f64) -> String {
    let s = whole(seconds);
    if s < 3600 { format!("{}:{:02}", s / 60, s % 60) } else { format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) }
}

/// Returns the name of a file, without its folders.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the name of a file, without its folders and its ending.
#[must_use]
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns a span in at most two units: `42s`, `4m10s`, `1h02m`, `3d04h`.
#[must_use]
pub fn span(seconds: f64) -> String {
    let s = whole(seconds);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Returns measured seconds: three digits that matter, and milliseconds where seconds would be none.
#[must_use]
pub fn measured(seconds: f64) -> String {
    match seconds {
        s if s >= 99.95 => format!("{s:.0} s"),
        s if s >= 9.995 => format!("{s:.1} s"),
        s if s > 0.0 && s < 0.009_95 => format!("{:.1} ms", s * 1000.0),
        s => format!("{s:.2} s"),
    }
}

/// Returns seconds without their unit, in at most five columns: two digits that matter.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 99.95 => format!("{s:.0}"),
        s if s >= 0.995 => format!("{s:.1}"),
        s if s >= 0.0995 => format!("{s:.2}"),
        s => format!("{s:.3}"),
    }
}

/// Returns what a step takes, which may be very little: three digits that matter, in seconds or milliseconds.
#[must_use]
pub fn pace(seconds: f64) -> String {
    match seconds * 1000.0 {
        ms if ms >= 99.95 => measured(seconds),
        ms if ms >= 9.995 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

/// Returns `1 job`, `3 jobs`.
#[must_use]
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn whole(seconds: f64) -> u64 {
    #[expect(clippy::cast_sign_loss, reason = "not below zero, and a cast from a float saturates")]
    let whole = seconds.max(0.0).round() as u64;
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::theme::glyphs::{ASCII, UNICODE};

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\0f\r"), "ab ce?f ");
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m, \u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\link\u{1b}c"), "red, blink?c");
        assert_eq!(clean("\u{1b}]0;no end"), "0;no end");
        assert_eq!([clean("\u{1b}"), clean("a\u{1b}["), clean("\u{9b}31"), clean("\u{1b}灯")], ["?", "a", "", "?灯"]);
    }

    #[test]
    fn every_end_of_a_line_is_one_space() {
        for end in ["\r", "\n", "\r\n", "\t", "\u{2028}"] {
            assert_eq!(one_line(&format!("a{end}hill{end}")), "a hill ", "{end:?}");
        }
        assert_eq!(one_line("a\r\rb\n\nc"), "a  b  c");
    }

    #[test]
    fn what_is_shown_has_a_certain_width() {
        assert_eq!(clean("🇩🇪 👨\u{200d}👩\u{200d}👧 ❤\u{fe0f} 👍🏽 1\u{fe0f}\u{20e3}"), "DE 👨👩👧 ❤ 👍 1");
        assert_eq!(one_line("🇩🇪 👨\u{200d}👩"), "🇩🇪 👨\u{200d}👩", "what is typed keeps them");
        assert_eq!(cut(&clean("👨\u{200d}👩\u{200d}👧 a"), 5, &UNICODE), "👨👩…");
    }

    #[test]
    fn cuts_by_columns_not_by_letters() {
        assert_eq!(cut("lighthouse", 6, &UNICODE), "light…");
        assert_eq!(cut("灯台の夜", 5, &UNICODE), "灯台…");
        assert_eq!(cut("灯台の夜", 4, &ASCII), "灯~");
        assert_eq!(cut("dusk", 4, &UNICODE), "dusk");
        assert_eq!(cut("dusk", 0, &UNICODE), "");
        assert_eq!(tail("/models/night", 6, &UNICODE), "…night");
    }

    #[test]
    fn writes_times_as_people_read_them() {
        assert_eq!([countdown(21.4), countdown(3723.0), countdown(-1.0)], ["0:21", "1:02:03", "0:00"]);
        assert_eq!([span(42.0), span(250.0), span(3720.0), span(273_600.0)], ["42s", "4m10s", "1h02m", "3d04h"]);
        assert_eq!([measured(1.5), measured(42.04), measured(600.0)], ["1.50 s", "42.0 s", "600 s"]);
        assert_eq!([measured(0.004), measured(0.000_21), measured(0.012), measured(0.0)], ["4.0 ms", "0.2 ms", "0.01 s", "0.00 s"]);
        let steps = [0.004, 0.042, 0.42, 1.5, 42.0, 99.97, 600.0].map(seconds);
        assert_eq!(steps, ["0.004", "0.042", "0.42", "1.5", "42.0", "100", "600"]);
        assert_eq!(span(f64::NAN), "0s");
        assert_eq!([pace(250.0), pace(1.5), pace(0.0423), pace(0.000_833)], ["250 s", "1.50 s", "42.3 ms", "0.83 ms"]);
    }

    #[test]
    fn writes_sizes_in_few_columns() {
        let sizes = [Bytes::ZERO, Bytes::mib(27), Bytes::mib(512), Bytes::gib(24), Bytes::gib(125)];
        assert_eq!(sizes.map(gib), ["0.0", "0.03", "0.5", "24.0", "125"]);
        assert_eq!([percent(0.934), percent(1.7)], ["93%", "100%"]);
        assert_eq!([count(1, "job"), count(0, "job")], ["1 job", "0 jobs"]);
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in "\\PC*", columns in 0usize..40) {
            prop_assert!(width(&cut(&text, columns, &UNICODE)) <= columns);
            prop_assert!(width(&tail(&text, columns, &UNICODE)) <= columns);
        }

        #[test]
        fn what_is_clean_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!clean(&text).chars().any(char::is_control));
            prop_assert!(!one_line(&text).chars().any(char::is_control));
        }

        #[test]
        fn what_is_clean_is_as_wide_as_its_letters(text in "[🇩🇪👨👩👍🏽❤1a灯é\u{200d}\u{fe0f}\u{20e3}]{0,20}") {
            prop_assert_eq!(width(&clean(&text)), text.chars().map(letter_width).sum::<usize>());
            prop_assert_eq!(width(&clean(&text)), clean(&text).chars().map(letter_width).sum::<usize>());
        }
    }
}
