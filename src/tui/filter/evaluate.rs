//! Whether a row is what a filter asks for.

use super::field::Value;

/// A row that can be filtered.
pub trait Filtered {
    /// Returns everything that the row shows, for words.
    fn line(&self) -> String;
    /// Returns what it has in the field of this name, the first of the field's names.
    fn value(&self, field: &str) -> Value;
}

/// What rows must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    rule: Option<Rule>,
}

/// A condition. What is not known of a row is neither more nor less than anything, and no text at all.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// The line holds this, in small letters.
    Holds(String),
    /// The field is this text.
    Is { field: &'static str, text: String },
    /// The field holds this text.
    Has { field: &'static str, text: String },
    /// The field lies between these; upon them only where they are not open.
    Within { field: &'static str, least: Option<f64>, most: Option<f64>, open: bool },
    /// The field lies on neither side nor between these.
    Outside { field: &'static str, least: f64, most: f64 },
    /// The condition does not hold.
    Not(Box<Self>),
    /// All hold.
    All(Vec<Self>),
    /// One holds at least.
    Any(Vec<Self>),
}

impl Filter {
    pub(super) fn of(rule: Rule) -> Self {
        Self { rule: Some(rule) }
    }

    /// Returns whether a row is what is asked for.
    #[must_use]
    pub fn matches(&self, row: &impl Filtered) -> bool {
        let Some(rule) = &self.rule else { return true };
        let line = if rule.looks_at_lines() { row.line().to_lowercase() } else { String::new() };
        rule.holds(row, &line)
    }
}

impl Rule {
    fn looks_at_lines(&self) -> bool {
        match self {
            Self::Holds(_) => true,
            Self::Not(rule) => rule.looks_at_lines(),
            Self::All(rules) | Self::Any(rules) => rules.iter().any(Self::looks_at_lines),
            Self::Is { .. } | Self::Has { .. } | Self::Within { .. } | Self::Outside { .. } => false,
        }
    }

    fn holds(&self, row: &impl Filtered, line: &str) -> bool {
        match self {
            Self::Holds(text) => line.contains(text),
            Self::Is { field, text } => any_text(&row.value(field), |value| value == text),
            Self::Has { field, text } => any_text(&row.value(field), |value| value.contains(text)),
            Self::Within { field, least, most, open } => number(&row.value(field)).is_some_and(|value| {
                let above = least.is_none_or(|least| value > least || (!open && value >= least));
                above && most.is_none_or(|most| value < most || (!open && value <= most))
            }),
            Self::Outside { field, least, most } => number(&row.value(field)).is_some_and(|value| value < *least || value > *most),
            Self::Not(rule) => !rule.holds(row, line),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(row, line)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(row, line)),
        }
    }
}

fn any_text(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    match value {
        Value::Text(text) => fits(&text.to_lowercase()),
        Value::Texts(texts) => texts.iter().any(|text| fits(&text.to_lowercase())),
        Value::Number(_) | Value::Unknown => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        Value::Text(_) | Value::Texts(_) | Value::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tui::filter::{Field, Kind, parse};

    const FIELDS: &[Field] = &[
        Field::new(&["id", "job"], Kind::Number),
        Field::new(&["state"], Kind::Text),
        Field::new(&["owner"], Kind::Text),
        Field::new(&["size"], Kind::Bytes),
        Field::new(&["age"], Kind::Span),
        Field::new(&["busy"], Kind::Share),
        Field::new(&["temp"], Kind::Degrees),
        Field::new(&["pinned"], Kind::Flag),
        Field::new(&["level"], Kind::Rank(&["info", "warn", "error"])),
    ];

    /// A failed job of ana's: 4.2 GiB, three hours old, of which no temperature is known.
    struct Row;

    impl Filtered for Row {
        fn line(&self) -> String {
            "41 failed ana a Lighthouse at dusk".to_owned()
        }

        fn value(&self, field: &str) -> Value {
            match field {
                "id" => Value::Number(41.0),
                "state" => Value::Texts(vec!["failed".to_owned(), "FAILED".to_owned(), "over".to_owned()]),
                "owner" => Value::text(Some("Ana")),
                "size" => Value::Number(4.2 * 1_073_741_824.0),
                "age" => Value::Number(10_800.0),
                "busy" => Value::Number(0.93),
                "pinned" => Value::flag(true),
                "level" => Value::Number(1.0),
                _ => Value::Unknown,
            }
        }
    }

    #[test]
    fn rows_are_what_is_asked_for_or_not() {
        let check = |text: &str, expected: bool| {
            let filter = parse(text, FIELDS).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(filter.matches(&Row), expected, "{text}");
        };
        for (text, expected) in [
            ("", true),
            ("  ", true),
            ("dusk light", true),
            ("dusk dawn", false),
            ("\"at dusk\"", true),
            ("\"dusk at\"", false),
            ("state=failed & owner=ana", true),
            ("state=failed owner=bo", false),
            ("state=over", true),
            ("state!=failed", false),
            ("owner!=bo", true),
            ("owner~=an", true),
            ("owner=an", false),
            ("size>4GiB & size<5 GiB", true),
            ("size>=4.2GiB", true),
            ("size=4GiB", true),
            ("size=4.1GiB", false),
            ("size!=4GiB", false),
            ("age>2h", true),
            ("age>7d | age>1h30m", true),
            ("age=3h", true),
            ("busy>90%", true),
            ("busy>0.95", false),
            ("busy>90", true),
            ("temp>80", false),
            ("temp<80", false),
            ("temp!=80", false),
            ("!(temp>80)", true),
            ("pinned=yes", true),
            ("pinned!=yes", false),
            ("level>=warn", true),
            ("level>warn", false),
            ("job=41", true),
            ("ID > 40", true),
            ("!fox & (dusk | dawn)", true),
            ("fox | dawn | !ana", false),
            ("dusk && ana", true),
            ("dusk || fox", true),
            ("lighthouse!", false),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn mistakes_have_a_place_and_say_what_can_be_written() {
        let check = |text: &str, at: usize, expected: &str| {
            let error = parse(text, FIELDS).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        };
        check("colour=red", 0, "there is no field `colour`; there are id, state, owner, size, age, busy, temp, pinned, level");
        check("dusk & colour=red", 7, "there is no field `colour`");
        check("size>big", 5, "`big` is no size; write 4GiB");
        check("size>4", 5, "4 of what? write 4GiB");
        check("size>", 5, "after `size>` a value is missing");
        check("size> & dusk", 6, "after `size>` a value is missing");
        check("size~=4GiB", 4, "~= is for texts; size takes = != > < >= <=");
        check("state>failed", 5, "state has no order; it takes = != ~=");
        check("(dusk", 0, "this parenthesis is not closed");
        check("dusk)", 4, "was not opened");
        check("\"dusk", 0, "this quote is not closed");
        check("dusk &", 6, "here a word is missing");
        check("| dusk", 0, "here a word is missing");
        check("= 4", 0, "before `=` stands the name of a field: id, state");
        check("é & size>x", 10, "is no size");
        check(&"(".repeat(40), 32, "too deep");
        check(&"!".repeat(40), 32, "too deep");
    }

    proptest! {
        /// Whatever is typed is a filter or an error within the text, and deciding about a row never fails.
        #[test]
        fn any_text_is_a_filter_or_refused(text in "\\PC{0,60}") {
            match parse(&text, FIELDS) {
                Ok(filter) => prop_assert_eq!(filter.matches(&Row), filter.matches(&Row)),
                Err(error) => prop_assert!(text.is_char_boundary(error.at) && !error.message.is_empty()),
            }
        }

        #[test]
        fn so_is_what_looks_like_one(parts in prop::collection::vec(prop::sample::select(vec![
            "id", "size", "age", "owner", "level", "pinned", "=", "!=", "~=", ">", "<", ">=", "<=", "!", "&", "|", "(", ")", "\"", " ", "4", "GiB", "4GiB", "7d", "1h", "90%", ".", "-", "é", "°C", "ana", "yes",
        ]), 0..40)) {
            let text = parts.concat();
            match parse(&text, FIELDS) {
                Ok(filter) => {
                    // Its opposite lets through what it does not.
                    if let Ok(opposite) = parse(&format!("!({text})"), FIELDS)
                        && !text.trim().is_empty()
                    {
                        prop_assert_ne!(filter.matches(&Row), opposite.matches(&Row));
                    }
                }
                Err(error) => prop_assert!(text.is_char_boundary(error.at) && error.at <= text.len()),
            }
        }

        /// Words without signs mean what they always meant: each must be there.
        #[test]
        fn plain_words_are_a_search(words in prop::collection::vec("[a-z]{1,4}", 0..4)) {
            let filter = parse(&words.join(" "), FIELDS).unwrap();
            let line = Row.line().to_lowercase();
            prop_assert_eq!(filter.matches(&Row), words.iter().all(|word| line.contains(word)));
        }
    }
}
