//! What the terminal says about itself when it is asked.
//!
//! The question ends with one that every terminal answers (primary device attributes), so that waiting
//! ends early. Nothing waits longer than [`PATIENCE`]; answers that come later arrive among the keys,
//! where [`Late`] picks them out.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyModifiers};

use crate::theme::Background;
use crate::tui::chord::Chord;

/// The longest wait for answers.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// The questions: name, background, Kitty's graphics plain and deflated, size of a cell, attributes.
pub const QUESTIONS: &str = "\x1b[>q\x1b]11;?\x07\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b_Gi=32,s=1,v=1,a=q,t=d,f=24,o=z;eJxjYGAAAAADAAE=\x1b\\\x1b[16t\x1b[c";

/// What the terminal said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// It draws Kitty's graphics.
    pub kitty: bool,
    /// It inflates graphics that were deflated.
    pub deflate: bool,
    /// It draws sixel.
    pub sixel: bool,
    /// Pixels of a cell, across and down.
    pub cell: Option<(u16, u16)>,
    /// Its background.
    pub background: Option<Background>,
    /// Its name and version.
    pub name: Option<String>,
}

impl Answers {
    /// Returns whether its graphics can be relied on: these two say they know Kitty's and draw placeholders as text.
    #[must_use]
    pub fn draws_pictures_well(&self) -> bool {
        !self.name.as_ref().is_some_and(|n| n.starts_with("WezTerm") || n.starts_with("Konsole"))
    }
}

/// Tells answers from keys in what the terminal sends.
#[derive(Debug, Default)]
pub struct Listener {
    unread: Vec<u8>,
    /// What was said so far.
    pub answers: Answers,
    /// Whether the last question was answered.
    pub complete: bool,
}

impl Listener {
    /// Takes in bytes; returns the keys among them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Chord> {
        self.unread.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = std::mem::take(&mut self.unread);
        while !rest.is_empty() {
            match sequence(&rest) {
                Piece::Answer(length) => {
                    self.understand(&rest[..length]);
                    rest.drain(..length);
                }
                Piece::Unfinished => break,
                Piece::Other(length) => {
                    keys.extend(key(&rest[..length]));
                    rest.drain(..length);
                }
            }
        }
        self.unread = rest;
        keys
    }

    /// Returns whether an answer has begun and not ended.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        self.unread.len() > 1
    }

    /// Returns the keys in what is left when nothing more will come: an escape that began no answer.
    pub fn finish(&mut self) -> Vec<Chord> {
        let rest = std::mem::take(&mut self.unread);
        if rest == b"\x1b" { key(&rest).into_iter().collect() } else { Vec::new() }
    }

    fn understand(&mut self, answer: &[u8]) {
        let text = String::from_utf8_lossy(answer);
        let answers = &mut self.answers;
        if let Some(body) = text.strip_prefix("\x1b[?").and_then(|t| t.strip_suffix('c')) {
            answers.sixel = body.split(';').any(|p| p == "4");
            self.complete = true;
        } else if let Some(body) = text.strip_prefix("\x1b[6;").and_then(|t| t.strip_suffix('t')) {
            let size = body.split_once(';').and_then(|(h, w)| Some((w.parse().ok()?, h.parse().ok()?)));
            answers.cell = size.filter(|(w, h)| (1..=200).contains(w) && (1..=200).contains(h));
        } else if let Some(body) = text.strip_prefix("\x1b]11;") {
            answers.background = background(body);
        } else if let Some(body) = text.strip_prefix("\x1b_Gi=") {
            answers.kitty |= body.starts_with("31;OK");
            answers.deflate |= body.starts_with("32;OK");
        } else if let Some(body) = text.strip_prefix("\x1bP>|") {
            let name: String = body.chars().filter(|c| !c.is_control() && *c != '\\').take(60).collect();
            answers.name = Some(name);
        }
    }
}

enum Piece {
    Answer(usize),
    Unfinished,
    Other(usize),
}

/// Looks at what the bytes begin with.
fn sequence(bytes: &[u8]) -> Piece {
    match bytes {
        [] | [0x1b] => Piece::Unfinished,
        [0x1b, b'[', rest @ ..] => match rest.iter().position(|b| (0x40..=0x7e).contains(b)) {
            Some(end) if matches!(rest[end], b'c' | b't') => Piece::Answer(end + 3),
            Some(end) => Piece::Other(end + 3),
            None => Piece::Unfinished,
        },
        [0x1b, b']' | b'_' | b'P', rest @ ..] => {
            let bell = rest.iter().position(|b| *b == 0x07).map(|at| at + 3);
            let string = rest.windows(2).position(|w| w == [0x1b, b'\\']).map(|at| at + 4);
            bell.into_iter().chain(string).min().map_or(Piece::Unfinished, Piece::Answer)
        }
        [0x1b, ..] => Piece::Other(2),
        [first, ..] => {
            let length = match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            };
            if bytes.len() < length { Piece::Unfinished } else { Piece::Other(length) }
        }
    }
}

/// The key that was pressed while answers were awaited. Arrows and the like are not worth a second parser.
fn key(bytes: &[u8]) -> Option<Chord> {
    let chord = |code, modifiers| Some(Chord { code, modifiers });
    match bytes {
        b"\x1b" => chord(KeyCode::Esc, KeyModifiers::NONE),
        b"\r" | b"\n" => chord(KeyCode::Enter, KeyModifiers::NONE),
        b"\t" => chord(KeyCode::Tab, KeyModifiers::NONE),
        b"\x7f" => chord(KeyCode::Backspace, KeyModifiers::NONE),
        [c @ 1..=26] => chord(KeyCode::Char(char::from(c + 96)), KeyModifiers::CONTROL),
        text => {
            let c = std::str::from_utf8(text).ok()?.chars().next()?;
            if c.is_control() { None } else { chord(KeyCode::Char(c), KeyModifiers::NONE) }
        }
    }
}

/// `rgb:1e1e/1e1e/1e1e`, of one to four digits each.
fn background(body: &str) -> Option<Background> {
    let digits = body.trim_end_matches(['\x07', '\x1b', '\\']).strip_prefix("rgb:")?;
    let channels: Vec<f64> = digits
        .split('/')
        .filter_map(|hex| {
            let value = u32::from_str_radix(hex, 16).ok().filter(|_| (1..=4).contains(&hex.len()))?;
            Some(f64::from(value) / f64::from((1u32 << (4 * hex.len())) - 1))
        })
        .collect();
    let [r, g, b] = channels[..] else { return None };
    let brightness = 0.299 * r + 0.587 * g + 0.114 * b;
    Some(if brightness > 0.5 { Background::Light } else { Background::Dark })
}

/// Picks answers that came too late out of the keys, as which a reader of keys sees them.
#[derive(Debug, Default)]
pub struct Late {
    collected: Option<String>,
}

/// What a key turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key.
    Key(Chord),
    /// A part of an answer.
    Part,
    /// The end of an answer.
    Answers(Answers),
}

impl Late {
    /// Longest answer: a name of sixty letters and what is around it.
    const LONGEST: usize = 100;

    /// Looks at a key.
    pub fn hear(&mut self, chord: Chord) -> Heard {
        let alt = chord.modifiers == KeyModifiers::ALT;
        let ends =
            (alt && chord.code == KeyCode::Char('\\')) || (chord.modifiers == KeyModifiers::CONTROL && chord.code == KeyCode::Char('g'));
        match (&mut self.collected, chord.code) {
            (None, KeyCode::Char(c @ (']' | '_' | 'P'))) if alt => {
                self.collected = Some(format!("\x1b{c}"));
                Heard::Part
            }
            (None, _) => Heard::Key(chord),
            (Some(_), _) if ends => {
                let mut listener = Listener::default();
                let text = self.collected.take().unwrap_or_default() + "\x1b\\";
                listener.push(text.as_bytes());
                Heard::Answers(listener.answers)
            }
            (Some(text), KeyCode::Char(c)) if text.len() < Self::LONGEST => {
                text.push(c);
                Heard::Part
            }
            // It was no answer after all.
            (Some(_), _) => {
                self.collected = None;
                Heard::Key(chord)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(chords: &[Chord]) -> String {
        chords.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn understands_kitty_and_passes_keys_on() {
        let mut listener = Listener::default();
        let sent: &[&[u8]] = &[
            b"j\x1bP>|kitty(0.36)\x1b\\\x1b]11;rgb:ffff/ffff/eeee\x1b\\",
            b"\x1b_Gi=31;OK\x1b\\\x1b_Gi=32;OK\x1b",
            b"\\\x1b[6;20;10t7\x1b[?62;c",
        ];
        let pressed: Vec<Chord> = sent.iter().flat_map(|bytes| listener.push(bytes)).collect();
        assert_eq!(keys(&pressed), "j 7");
        let expected = Answers {
            kitty: true,
            deflate: true,
            sixel: false,
            cell: Some((10, 20)),
            background: Some(Background::Light),
            name: Some("kitty(0.36)".to_owned()),
        };
        assert_eq!((&listener.answers, listener.complete), (&expected, true));
    }

    #[test]
    fn understands_sixel_and_mistrusts_two_terminals() {
        let mut listener = Listener::default();
        listener.push(b"\x1bP>|WezTerm 20240203\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[?65;4;22c");
        assert!(listener.answers.sixel && listener.answers.kitty && !listener.answers.draws_pictures_well());
    }

    #[test]
    fn a_lone_escape_is_a_key_in_the_end() {
        let mut listener = Listener::default();
        assert!(listener.push("é\u{1b}".as_bytes()) == [Chord { code: KeyCode::Char('é'), modifiers: KeyModifiers::NONE }]);
        assert_eq!(keys(&listener.finish()), "esc");
    }

    #[test]
    fn nonsense_is_no_answer() {
        let mut listener = Listener::default();
        listener.push(b"\x1b]11;rgb:zz/00/00\x07\x1b[6;0;0t\x1b_Gi=31;ENOENT\x1b\\\xff\xfe\x1b[A");
        assert_eq!(listener.answers, Answers::default());
    }

    #[test]
    fn late_answers_are_no_keys() {
        let mut late = Late::default();
        let mut heard = Vec::new();
        for key in ["j", "alt-_", "G", "i", "=", "3", "1", ";", "O", "K", "alt-\\", "q"] {
            heard.push(late.hear(key.parse().unwrap()));
        }
        assert_eq!(heard[0], Heard::Key("j".parse().unwrap()));
        assert!(heard[1..10].iter().all(|h| *h == Heard::Part));
        assert!(matches!(&heard[10], Heard::Answers(a) if a.kitty));
        assert_eq!(heard[11], Heard::Key("q".parse().unwrap()));
    }
}
