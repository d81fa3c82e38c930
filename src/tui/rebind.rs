//! `keys.yaml`: the keys that an operator gives to actions.
//!
//! ```yaml
//! cancel-job: [c, del]          # wherever the action has keys
//! everywhere.down: [j, ctrl-n]  # in one place only; wins over the line above it or below it
//! next-box: []                  # no key at all
//! ```
//!
//! What is not named keeps the keys it has. A file is used as a whole or not at all: one that leaves no way out of a place,
//! or gives a key two meanings there, is refused with line and column.

use serde_yaml::{Mapping, Value};

use super::action::Action;
use super::chord::Chord;
use super::keys::{Bound, Keys};
use super::layer::Layer;

/// Why a file gives no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line} column {column}")]
pub struct KeysError {
    /// What is wrong.
    pub problem: String,
    /// Where, from 1.
    pub line: usize,
    /// Where in the line, from 1.
    pub column: usize,
}

/// One line of the file.
struct Entry {
    name: String,
    keys: Vec<(String, Chord)>,
}

/// Reads the file's text.
pub fn parse(text: &str) -> Result<Keys, KeysError> {
    let source = Source::of(text);
    let entries = source.entries()?;
    let mut keys = Keys::built_in();
    // By which entry a row has its keys.
    let mut said: Vec<Option<usize>> = vec![None; keys.rows.len()];
    // What names one place wins over what names all of them.
    for exact in [false, true] {
        for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.name.contains('.') == exact) {
            let mut known = false;
            for (row, bound) in keys.rows.iter_mut().enumerate() {
                let is_it = if exact { bound.name() == entry.name } else { bound.row.action.name() == entry.name };
                known |= is_it;
                if is_it && give(bound, entry, exact) {
                    said[row] = Some(number);
                }
            }
            if !known {
                return Err(source.at(&entry.name, None, unknown(&keys, &entry.name)));
            }
        }
    }
    match problem(&keys) {
        None => Ok(keys),
        Some(Problem { row, key, words }) => {
            // Of two rows that do not go together, one at least is in the file.
            let said_row = row.iter().find_map(|row| said[*row]);
            let entry = said_row.map(|number| &entries[number]);
            let written = entry.and_then(|e| key.and_then(|key| e.keys.iter().find(|(_, chord)| *chord == key)));
            Err(source.at(entry.map_or("", |e| e.name.as_str()), written.map(|(text, _)| text.as_str()), words))
        }
    }
}

/// Gives a row the keys of an entry; returns whether it has them now.
fn give(bound: &mut Bound, entry: &Entry, exact: bool) -> bool {
    let keys = entry.keys.iter().map(|(_, chord)| *chord);
    // A name for all places means those where letters are typed, too; there it can only mean the other keys.
    let fits = |chord: &Chord| exact || !takes_no_letters(bound.row.layer) || chord.letter().is_none();
    let keys: Vec<Chord> = keys.filter(fits).collect();
    if keys.is_empty() && !entry.keys.is_empty() {
        return false;
    }
    bound.keys = keys;
    true
}

/// Whether a letter cannot be a key there, because it is typed.
fn takes_no_letters(layer: Layer) -> bool {
    layer.takes_text() || layer == Layer::Always
}

/// What is wrong with a table: with which rows, with which key.
struct Problem {
    row: Vec<usize>,
    key: Option<Chord>,
    words: String,
}

/// Returns the first thing that is wrong with a table.
fn problem(keys: &Keys) -> Option<Problem> {
    let rows = || keys.rows.iter().enumerate();
    let each = || rows().flat_map(|(row, bound)| bound.keys.iter().map(move |key| (row, bound, *key)));
    let letter = each().find(|(_, bound, key)| takes_no_letters(bound.row.layer) && key.letter().is_some());
    if let Some((row, bound, key)) = letter {
        let words = format!("`{key}` is a letter, and letters are typed where `{}` is meant; take another key", bound.name());
        return Some(Problem { row: vec![row], key: Some(key), words });
    }
    for (row, bound, key) in each() {
        let clashes = |other: &Bound| {
            let always = other.row.layer == Layer::Always || bound.row.layer == Layer::Always;
            other.keys.contains(&key) && (other.row.layer == bound.row.layer || always)
        };
        if let Some((other, with)) = rows().find(|(other, with)| *other != row && clashes(with)) {
            let words = format!("`{key}` is the key of `{}` and of `{}`; give one of them another", bound.name(), with.name());
            return Some(Problem { row: vec![row, other], key: Some(key), words });
        }
    }
    let shut = rows().find(|(_, bound)| bound.keys.is_empty() && is_way_out(bound));
    if let Some((row, bound)) = shut {
        let words = format!("`{}` needs a key: without it there is no way out", bound.name());
        return Some(Problem { row: vec![row], key: None, words });
    }
    // A key that is held would answer the question that it asks.
    let answers = each().filter(|(_, bound, _)| bound.row.action == Action::Accept);
    for (row, bound, key) in answers {
        let asks = |other: &&Bound| other.row.action.is_destructive() && other.keys.contains(&key);
        if let Some(other) = keys.rows.iter().position(|other| asks(&other)) {
            let asked = keys.rows[other].name();
            let words = format!("`{key}` is the key of `{asked}` and of `{}`, which would answer its question", bound.name());
            return Some(Problem { row: vec![row, other], key: Some(key), words });
        }
    }
    None
}

/// Whether it is what a place is left by.
fn is_way_out(bound: &Bound) -> bool {
    match (bound.row.layer, bound.row.action) {
        // Screens are left by those of other screens, and by what always leaves.
        (Layer::Everywhere | Layer::Offload, _) => false,
        (Layer::Always, action) => action == Action::Quit,
        (_, action) => matches!(action, Action::Back | Action::Decline | Action::Accept),
    }
}

fn unknown(keys: &Keys, name: &str) -> String {
    let action = name.rsplit('.').next().unwrap_or(name);
    let alike = |known: &str| known.bytes().zip(action.bytes()).take_while(|(a, b)| a == b).count();
    let nearest = keys.rows.iter().max_by_key(|bound| alike(bound.row.action.name()));
    let nearest = nearest.filter(|bound| alike(bound.row.action.name()) >= 3);
    let hint =
        nearest.map(|bound| format!(", but `{}`", if name.contains('.') { bound.name() } else { bound.row.action.name().to_owned() }));
    format!("there is no action `{name}`{}; `perilune config keys` lists them", hint.unwrap_or_default())
}

/// The text, and where something stands in it.
struct Source<'a> {
    text: &'a str,
    /// The same without comments of whole lines, which may name anything.
    bare: String,
}

impl<'a> Source<'a> {
    fn of(text: &'a str) -> Self {
        let blank = |line: &str| if line.trim_start().starts_with('#') { " ".repeat(line.len()) } else { line.to_owned() };
        Self { text, bare: text.split('\n').map(blank).collect::<Vec<_>>().join("\n") }
    }

    fn entries(&self) -> Result<Vec<Entry>, KeysError> {
        let read: Result<Option<Mapping>, _> = serde_yaml::from_str(self.text);
        let mapping = read.map(Option::unwrap_or_default).map_err(|e| {
            let place = e.location().map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
            let told = e.to_string();
            let problem = told.rsplit_once(" at line ").map_or(told.as_str(), |(before, _)| before).to_owned();
            KeysError { problem, line: place.0, column: place.1 }
        })?;
        let mut entries = Vec::new();
        for (name, value) in mapping {
            let Some(name) = scalar(&name) else {
                return Err(self.at("", None, "a line is `action: [key, key]`".to_owned()));
            };
            if name == "schema" {
                if value != 1 {
                    return Err(self.at("schema", None, "this version reads schema 1".to_owned()));
                }
                continue;
            }
            let listed = match &value {
                Value::Sequence(list) => list.iter().map(scalar).collect::<Option<Vec<String>>>(),
                one => scalar(one).map(|one| vec![one]),
            };
            let Some(listed) = listed else {
                return Err(self.at(&name, None, format!("`{name}` is a list of keys, `[c, ctrl-s]`; quote signs such as '?' and '~'")));
            };
            let no_key = |key: &str| format!("`{key}` is no key; write a letter or sign, enter, esc, tab, space, f5, pgup, ctrl-s, alt-b");
            let keys = listed.into_iter().map(|key| match key.parse() {
                Ok(chord) => Ok((key, chord)),
                Err(_) => Err(self.at(&name, Some(&key), no_key(&key))),
            });
            let keys = keys.collect::<Result<_, _>>()?;
            entries.push(Entry { name, keys });
        }
        Ok(entries)
    }

    /// Returns the error that is about the entry of this name, or about a key of it.
    fn at(&self, name: &str, key: Option<&str>, problem: String) -> KeysError {
        let entry = self.find(name, 0, |after| after.trim_start_matches(['"', '\'', ' ']).starts_with(':')).unwrap_or(0);
        let place = key.and_then(|key| self.find(key, entry + name.len(), |_| true)).unwrap_or(entry);
        let before = &self.text[..place];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        KeysError { problem, line, column }
    }

    /// Returns where a word stands by itself, at or after a place, if what follows it fits.
    fn find(&self, word: &str, from: usize, fits: impl Fn(&str) -> bool) -> Option<usize> {
        let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        let rest = self.bare.get(from..).filter(|_| !word.is_empty())?;
        let stands = |at: &usize| {
            let (before, after) = (&rest[..*at], &rest[at + word.len()..]);
            // A sign, such as `-`, may stand beside anything.
            let alone = !word.chars().all(part_of_word) || !(before.ends_with(part_of_word) || after.starts_with(part_of_word));
            alone && fits(after)
        };
        rest.match_indices(word).map(|(at, _)| at).find(stands).map(|at| from + at)
    }
}

/// A text; a digit is one, too.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tui::action::{JobVerb, Motion};

    fn chord(text: &str) -> Chord {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_named_gets_its_keys_and_the_rest_keeps_its_own() {
        let keys = parse("# mine\nschema: 1\ncancel-job: [del, f9]\noverview: [1, o]\nnext-box: []\nquit: 'Q'\n").unwrap();
        let cancel = Some(Action::Job(JobVerb::Cancel));
        assert_eq!(keys.resolve(Layer::Jobs, chord("del")), cancel);
        assert_eq!(keys.resolve(Layer::Jobs, chord("c")), None);
        assert_eq!(keys.resolve(Layer::Everywhere, chord("o")), keys.resolve(Layer::Everywhere, chord("1")));
        assert_eq!(keys.of(Layer::Hosts).next().unwrap().keys, []);
        assert_eq!(keys.resolve(Layer::Everywhere, chord("r")), Some(Action::Refresh));
        // A letter cannot leave what letters are typed into.
        assert_eq!(keys.key_of(&[Layer::Always], Action::Quit), Some("ctrl-c".to_owned()));
        for nothing in ["", "# nothing\n", "{}", "schema: 1\n"] {
            assert_eq!(parse(nothing), Ok(Keys::built_in()), "{nothing}");
        }
    }

    #[test]
    fn one_place_wins_over_all_places() {
        let keys = parse("everywhere.down: [ctrl-n]\ndown: [down, v]\n").unwrap();
        assert_eq!(keys.resolve(Layer::Everywhere, chord("ctrl-n")), Some(Action::Move(Motion::Down)));
        assert_eq!(keys.resolve(Layer::Everywhere, chord("v")), None);
        assert_eq!(keys.resolve(Layer::Signals, chord("v")), Some(Action::Move(Motion::Down)));
        assert_eq!(keys.resolve(Layer::Pick, chord("v")), None);
        assert_eq!(keys.resolve(Layer::Pick, chord("down")), Some(Action::Move(Motion::Down)));
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        let check = |text: &str, place: (usize, usize), expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.problem.contains(expected), "{text}: {error}");
            assert_eq!((error.line, error.column), place, "{text}: {error}");
        };
        check("quit: [Q]\ncancel-jbo: [x]\n", (2, 1), "there is no action `cancel-jbo`, but `cancel-job`; `perilune config keys`");
        check("queue.cancel-job: [del]\n", (1, 1), "but `jobs.cancel-job`");
        check("cancel-job:\n  - del\n  - hyper-x\n", (3, 5), "`hyper-x` is no key");
        check("cancel-job: [p]\n", (1, 14), "`p` is the key of `jobs.cancel-job` and of `jobs.pause-queue`");
        check("hold-job: [z]\n# retry-job: [z]\nretry-job: [z]\n", (1, 12), "`z` is the key of `jobs.hold-job` and of `jobs.retry-job`");
        check("refresh: [ctrl-c]\n", (1, 11), "`ctrl-c` is the key of `everywhere.refresh` and of `always.quit`");
        check("filter.back: []\n", (1, 1), "`filter.back` needs a key: without it there is no way out");
        check("confirm.decline: []\n", (1, 1), "no way out");
        check("always.quit: []\n", (1, 1), "no way out");
        check("pick.down: [j]\n", (1, 13), "`j` is a letter, and letters are typed where `pick.down` is meant");
        check("always.redraw: [r]\n", (1, 17), "`r` is a letter");
        check("accept: [c]\n", (1, 10), "which would answer its question");
        check("cancel-job: ~\n", (1, 1), "`cancel-job` is a list of keys");
        check("quit: [q\n", (2, 1), "");
        check("quit: [q]\nquit: [Q]\n", (1, 1), "duplicate");
        check("schema: 2\n", (1, 1), "reads schema 1");
        check("[c]", (1, 1), "");
    }

    /// The keys of a file are the keys of a table as good as the built-in one.
    #[test]
    fn the_built_in_table_is_right() {
        assert!(problem(&Keys::built_in()).is_none());
        let lines: Vec<String> = Keys::built_in()
            .all()
            .iter()
            .map(|bound| {
                let keys: Vec<String> = bound.keys.iter().map(|key| format!("'{}'", key.to_string().replace('\'', "''"))).collect();
                format!("{}: [{}]", bound.name(), keys.join(", "))
            })
            .collect();
        assert_eq!(parse(&lines.join("\n")), Ok(Keys::built_in()));
    }

    proptest! {
        #[test]
        fn any_text_gives_keys_or_is_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "quit", "cancel-job", "jobs.", "everywhere.down", "filter.back", "schema", "1", "c", "ctrl-c", "f", "f1", "alt-", "enter", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "\u{0}", "é", "灯",
        ]), 0..30)) {
            if let Ok(keys) = parse(&parts.concat()) {
                prop_assert!(problem(&keys).is_none());
            }
        }
    }
}
