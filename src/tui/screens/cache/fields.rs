//! What filters can ask of conversions, those that are there and those on their way.

use super::Row;
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::tui::wording;
use crate::units::Timestamp;

/// The fields of conversions.
pub const FIELDS: &[Field] = &[
    Field::new(&["source", "name"], Kind::Text),
    Field::new(&["path", "file"], Kind::Text),
    Field::new(&["from"], Kind::Text),
    Field::new(&["precision", "to"], Kind::Text),
    Field::new(&["size"], Kind::Bytes),
    Field::new(&["age"], Kind::Span),
    Field::new(&["used"], Kind::Span),
    Field::new(&["hits"], Kind::Number),
    Field::new(&["error"], Kind::Number),
    Field::new(&["state"], Kind::Text),
    Field::new(&["progress"], Kind::Share),
    Field::new(&["open"], Kind::Flag),
    Field::new(&["kept"], Kind::Flag),
];

/// A row and the time at which it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The row.
    pub row: Row<'a>,
    /// The time.
    pub now: Timestamp,
}

impl Filtered for Beside<'_> {
    fn line(&self) -> String {
        match self.row {
            Row::Conversion(conversion) => format!("{} {} converting", conversion.source.display(), conversion.to),
            Row::File(file) => {
                let source = file.source.as_deref().map(wording::file_name).unwrap_or_default();
                let (from, to) = (file.from.as_deref().unwrap_or_default(), file.to.as_deref().unwrap_or_default());
                let kept = if file.kept { "kept" } else { "" };
                format!("{} {source} {from} {to} {} {kept}", file.path.display(), file.state.name())
            }
        }
    }

    fn value(&self, field: &str) -> Value {
        let ago = |at: Option<Timestamp>| Value::number(at.map(|at| self.now.since(at).as_secs_f64()));
        match (self.row, field) {
            (Row::Conversion(conversion), "source") => Value::Text(wording::stem(&conversion.source)),
            (Row::Conversion(conversion), "precision") => Value::Text(conversion.to.to_string()),
            (Row::Conversion(conversion), "size") => Value::bytes(conversion.bytes),
            (Row::Conversion(conversion), "progress") => Value::Number(conversion.ratio()),
            (Row::Conversion(_), "state") => Value::text(Some("converting")),
            (Row::Conversion(_), "path" | "from") => Value::text(None),
            (Row::File(file), "source") => Value::Text(wording::stem(file.source.as_deref().unwrap_or(&file.path))),
            (Row::File(file), "path") => Value::Text(file.path.display().to_string()),
            (Row::File(file), "from") => Value::text(file.from.as_deref()),
            (Row::File(file), "precision") => Value::text(file.to.as_deref()),
            (Row::File(file), "size") => Value::bytes(file.bytes),
            (Row::File(file), "age") => ago(file.made),
            (Row::File(file), "used") => ago(file.used),
            (Row::File(file), "hits") => Value::number(file.hits.map(|hits| hits as f64)),
            (Row::File(file), "error") => Value::number(file.rel_l2_mean),
            (Row::File(file), "state") => Value::text(Some(file.state.name())),
            (Row::File(file), "open") => Value::flag(file.in_use),
            (Row::File(file), "kept") => Value::flag(file.kept),
            _ => Value::Unknown,
        }
    }
}
