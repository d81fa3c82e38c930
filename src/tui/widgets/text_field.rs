//! A line of text to type into: editing, wrapping, and where the cursor stands.

use tui_input::{Input, InputRequest};

use crate::tui::chord::Chord;
use crate::tui::wording;

/// Longest text of a field: as long as a very long prompt.
const LONGEST: usize = 20_000;

/// Takes in a key.
pub fn press(input: &mut Input, chord: Chord) {
    let request = tui_input::backend::crossterm::to_input_request(&chord.event());
    match request {
        Some(InputRequest::InsertChar(c)) if c.is_control() || input.value().len() >= LONGEST => {}
        Some(request) => {
            // The answer says what changed; the whole line is drawn anyway.
            let _changed = input.handle(request);
        }
        None => {}
    }
}

/// Takes in pasted text, in one line.
pub fn paste(input: &mut Input, text: &str) {
    let clean = wording::one_line(text);
    let room = LONGEST.saturating_sub(input.value().len());
    let taken: String = clean.chars().take(room).collect();
    let (before, after) = split(input);
    let cursor = input.cursor() + taken.chars().count();
    *input = Input::new(format!("{before}{taken}{after}")).with_cursor(cursor);
}

fn split(input: &Input) -> (String, String) {
    let chars = || input.value().chars();
    (chars().take(input.cursor()).collect(), chars().skip(input.cursor()).collect())
}

/// Text in rows, and where the cursor is in them.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The rows.
    pub rows: Vec<String>,
    /// Column and row of the cursor.
    pub cursor: (usize, usize),
}

/// Breaks a text into rows of so many columns, at spaces where it can. One column stays free for the cursor.
#[must_use]
pub fn wrap(input: &Input, columns: usize) -> Wrapped {
    let room = columns.saturating_sub(1).max(1);
    let mut rows = vec![String::new()];
    let mut used = 0;
    let mut cursor = (0, 0);
    let chars: Vec<char> = input.value().chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let wide = wording::letter_width(*c);
        let word_starts = *c != ' ' && (at == 0 || chars[at - 1] == ' ');
        let word = if word_starts { chars[at..].iter().take_while(|c| **c != ' ').map(|c| wording::letter_width(*c)).sum() } else { wide };
        let breaks = used + wide > room || (word_starts && used > 0 && used + word > room && word <= room);
        if breaks && *c != ' ' {
            rows.push(String::new());
            used = 0;
        }
        if at == input.cursor() {
            cursor = (used, rows.len() - 1);
        }
        if used + wide <= room
            && let Some(row) = rows.last_mut()
        {
            row.push(*c);
            used += wide;
        }
    }
    if input.cursor() >= chars.len() {
        cursor = (used, rows.len() - 1);
    }
    Wrapped { rows, cursor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(keys: &[&str]) -> Input {
        let mut input = Input::default();
        for key in keys {
            press(&mut input, key.parse().unwrap());
        }
        input
    }

    #[test]
    fn edits_as_shells_do() {
        assert_eq!(typed(&["a", "space", "b", "c", "ctrl-w", "d"]).value(), "a d");
        assert_eq!(typed(&["b", "home", "a", "end", "c"]).value(), "abc");
        assert_eq!(typed(&["a", "b", "backspace", "enter", "up"]).value(), "a");
    }

    #[test]
    fn pasted_lines_become_one() {
        let mut input = Input::new("ad".to_owned()).with_cursor(1);
        paste(&mut input, "b\r\u{1b}[1mc\u{1b}[0m\r\ne");
        assert_eq!((input.value(), input.cursor()), ("ab c ed", 6));
    }

    #[test]
    fn breaks_at_spaces() {
        let wrapped = wrap(&Input::new("a lighthouse at dusk".to_owned()), 13);
        assert_eq!(wrapped.rows, ["a lighthouse", "at dusk"]);
        assert_eq!(wrapped.cursor, (7, 1));
        assert_eq!(
            wrap(&Input::new("abcdefgh".to_owned()).with_cursor(3), 4),
            Wrapped { rows: vec!["abc".to_owned(), "def".to_owned(), "gh".to_owned()], cursor: (0, 1) }
        );
        assert_eq!(wrap(&Input::default(), 10).cursor, (0, 0));
    }

    proptest! {
        #[test]
        fn rows_fit_and_the_cursor_is_in_them(text in "[a-z 灯é🇩🇪👨🏽\u{200d}]{0,80}", columns in 2usize..30, at in 0usize..90) {
            let input = Input::new(text).with_cursor(at);
            let wrapped = wrap(&input, columns);
            for row in &wrapped.rows {
                prop_assert!(wording::width(&wording::clean(row)) < columns.max(2));
            }
            prop_assert!(wrapped.cursor.1 < wrapped.rows.len() && wrapped.cursor.0 < columns.max(2));
        }
    }
}
