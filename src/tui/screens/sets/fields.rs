//! What filters can ask of model sets and their parts.

use super::Row;
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::tui::known::Known;
use crate::units::Bytes;
use crate::wire::SetView;

/// The fields of sets and their parts. A set's are the sums of its parts'.
pub const FIELDS: &[Field] = &[
    Field::new(&["set", "model", "name"], Kind::Text),
    Field::new(&["part", "role"], Kind::Text),
    Field::new(&["precision", "type"], Kind::Text),
    Field::new(&["family"], Kind::Text),
    Field::new(&["device"], Kind::Text),
    Field::new(&["size", "real"], Kind::Bytes),
    Field::new(&["plan"], Kind::Bytes),
    Field::new(&["alone"], Kind::Bytes),
    Field::new(&["pinned"], Kind::Flag),
    Field::new(&["used", "age"], Kind::Span),
    Field::new(&["temp"], Kind::Degrees),
    Field::new(&["busy"], Kind::Share),
];

/// A row and what is known beside it.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The row.
    pub row: Row<'a>,
    /// What is known of its device, and the time.
    pub known: &'a Known,
}

impl Filtered for Beside<'_> {
    /// A part is found by the name of its set, too.
    fn line(&self) -> String {
        let SetView { id, name, family, device, pinned, .. } = self.row.set;
        let pinned = if *pinned { "pinned" } else { "" };
        match self.row.part {
            None => format!("{name} {id} {family} {device} {pinned}"),
            Some((_, part)) => format!("{name} {id} {family} {} {} {} {pinned}", part.role.name(), part.precision, part.device),
        }
    }

    fn value(&self, field: &str) -> Value {
        let (set, part) = (self.row.set, self.row.part.map(|(_, part)| part));
        let sum = |of: fn(&crate::wire::status::PartView) -> Bytes| match part {
            Some(part) => Value::bytes(of(part)),
            None => Value::bytes(set.components.iter().map(of).sum()),
        };
        let at = part.map_or(set.device, |part| part.device);
        let device = || self.known.devices.iter().find(|d| d.id == at);
        match field {
            "set" => Value::Texts(vec![set.name.clone(), set.id.to_string()]),
            "part" => Value::text(part.map(|part| part.role.name())),
            "precision" => match part {
                Some(part) => Value::text(Some(&part.precision)),
                None => Value::Texts(set.components.iter().map(|part| part.precision.clone()).collect()),
            },
            "family" => Value::text(Some(&set.family)),
            "device" => Value::Text(at.to_string()),
            "size" => sum(|part| part.bytes),
            "plan" => sum(|part| part.planned),
            "alone" => match part {
                Some(part) if set.shared.iter().any(|shared| shared.copy == part.copy) => Value::Number(0.0),
                Some(part) => Value::bytes(part.bytes),
                None => Value::bytes(set.alone),
            },
            "pinned" => Value::flag(set.pinned),
            "used" => Value::number(match set.used_by {
                Some(_) => Some(0.0),
                None => set.last_used.map(|at| self.known.now.since(at).as_secs_f64()),
            }),
            "temp" => Value::number(device().and_then(|d| d.temperature_c)),
            "busy" => Value::number(device().and_then(|d| d.utilization)),
            _ => Value::Unknown,
        }
    }
}
