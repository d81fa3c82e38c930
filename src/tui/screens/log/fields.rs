//! What searches can ask of lines of the log.

use super::Level;
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::units::Timestamp;
use crate::wire::LogLine;

/// The fields of lines.
pub const FIELDS: &[Field] = &[
    Field::new(&["level"], Kind::Rank(&["trace", "debug", "info", "warn", "error"])),
    Field::new(&["source", "from"], Kind::Text),
    Field::new(&["text"], Kind::Text),
    Field::new(&["age"], Kind::Span),
];

/// A line, and the time at which it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The line.
    pub line: &'a LogLine,
    /// The time.
    pub now: Timestamp,
}

impl Filtered for Beside<'_> {
    fn line(&self) -> String {
        let LogLine { level, source, text, .. } = self.line;
        format!("{level} {source} {text}")
    }

    fn value(&self, field: &str) -> Value {
        match field {
            "level" => Value::Number(f64::from(Level::of(&self.line.level) as u8)),
            "source" => Value::text(Some(&self.line.source)),
            "text" => Value::text(Some(&self.line.text)),
            "age" => Value::Number(self.now.since(self.line.time).as_secs_f64()),
            _ => Value::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ranked_as_they_are_shown() {
        let names: Vec<&str> = Level::ALL.iter().map(|level| level.name()).collect();
        assert_eq!(FIELDS[0].kind, Kind::Rank(&["trace", "debug", "info", "warn", "error"]));
        assert_eq!(names, ["trace", "debug", "info", "warn", "error"]);
    }
}
