//! A key with its modifiers, as tables, footers and help write it: `j`, `ctrl-s`, `shift-tab`, `f1`.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    /// The key. A capital letter is its own key.
    pub code: KeyCode,
    /// Control and alt; shift only where it changes no letter.
    pub modifiers: KeyModifiers,
}

const NAMES: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("del", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
];

impl Chord {
    /// Returns the chord of a key event. Shift is left out, for it is in the letter already.
    #[must_use]
    pub fn of(event: &KeyEvent) -> Self {
        let modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let code = match event.code {
            // ctrl-S and ctrl-s are the same key press in most terminals.
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        Self { code, modifiers }
    }

    /// Returns the letter that this chord types, if it types one.
    #[must_use]
    pub fn letter(self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if self.modifiers.is_empty() && !c.is_control() => Some(c),
            _ => None,
        }
    }

    /// Returns the event, for those who read events.
    #[must_use]
    pub fn event(self) -> Event {
        Event::Key(KeyEvent::new(self.code, self.modifiers))
    }
}

/// A text that names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a key")]
pub struct ChordError {
    /// The text.
    pub text: String,
}

impl FromStr for Chord {
    type Err = ChordError;

    fn from_str(text: &str) -> Result<Self, ChordError> {
        let unknown = || ChordError { text: text.to_owned() };
        let (modifiers, name) = match text {
            t if t.starts_with("ctrl-") => (KeyModifiers::CONTROL, &t[5..]),
            t if t.starts_with("alt-") => (KeyModifiers::ALT, &t[4..]),
            t => (KeyModifiers::NONE, t),
        };
        let mut letters = name.chars();
        let code = match (letters.next(), letters.next()) {
            (Some(only), None) => KeyCode::Char(only),
            _ => match NAMES.iter().find(|(n, _)| *n == name) {
                Some((_, code)) => *code,
                None => name.strip_prefix('f').and_then(|n| n.parse().ok()).map(KeyCode::F).ok_or_else(unknown)?,
            },
        };
        Ok(Self { code, modifiers })
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::CONTROL) {
            f.write_str("ctrl-")?;
        }
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("alt-")?;
        }
        if let Some((name, _)) = NAMES.iter().find(|(_, code)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(n) => write!(f, "f{n}"),
            // Keys that no table names.
            _ => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in ["j", "G", "?", ":", "ctrl-s", "alt-b", "shift-tab", "f10", "pgdn", "space", "enter", "-"] {
            assert_eq!(name.parse::<Chord>().unwrap().to_string(), name);
        }
        assert!("hyper-j".parse::<Chord>().is_err() && "".parse::<Chord>().is_err() && "fx".parse::<Chord>().is_err());
    }

    #[test]
    fn a_capital_is_a_key_and_shift_is_not() {
        let event = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(Chord::of(&event), "G".parse().unwrap());
        assert_eq!(Chord::of(&event).letter(), Some('G'));
        let event = KeyEvent::new(KeyCode::Char('S'), KeyModifiers::CONTROL | KeyModifiers::SHIFT);
        assert_eq!(Chord::of(&event), "ctrl-s".parse().unwrap());
        assert_eq!(Chord::of(&event).letter(), None);
    }
}
