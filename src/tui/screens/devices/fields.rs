//! What filters can ask of processes, and of the device whose memory they hold.

use crate::devices::{DeviceReading, ProcessReading};
use crate::tui::filter::{Field, Filtered, Kind, Value};
use crate::units::Timestamp;

/// The fields of processes.
pub const FIELDS: &[Field] = &[
    Field::new(&["pid"], Kind::Number),
    Field::new(&["user"], Kind::Text),
    Field::new(&["name"], Kind::Text),
    Field::new(&["command"], Kind::Text),
    Field::new(&["container"], Kind::Text),
    Field::new(&["whose", "owner"], Kind::Text),
    Field::new(&["memory", "size", "mem"], Kind::Bytes),
    Field::new(&["age", "since"], Kind::Span),
    Field::new(&["device"], Kind::Text),
    Field::new(&["temp"], Kind::Degrees),
    Field::new(&["busy"], Kind::Share),
];

/// A process, its device, and the time at which it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The process.
    pub process: &'a ProcessReading,
    /// The device.
    pub device: &'a DeviceReading,
    /// The time.
    pub now: Timestamp,
}

impl Filtered for Beside<'_> {
    fn line(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let ProcessReading { pid, name, user, command, container, owner, .. } = self.process;
        format!("{pid} {} {} {} {} {owner}", text(name), text(user), text(command), text(container))
    }

    fn value(&self, field: &str) -> Value {
        let process = self.process;
        match field {
            "pid" => Value::Number(f64::from(process.pid)),
            "user" => Value::text(process.user.as_deref()),
            "name" => Value::text(process.name.as_deref()),
            "command" => Value::text(process.command.as_deref()),
            "container" => Value::text(process.container.as_deref()),
            "whose" => Value::Texts(vec![process.owner.clone(), whose(&process.owner).to_owned()]),
            "memory" => Value::number(process.bytes.map(|bytes| bytes.get() as f64)),
            "age" => Value::number(process.started.map(|at| self.now.since(at).as_secs_f64())),
            "device" => Value::Text(self.device.id.to_string()),
            "temp" => Value::number(self.device.temperature_c),
            "busy" => Value::number(self.device.utilization),
            _ => Value::Unknown,
        }
    }
}

/// Returns whose a process is, in the word of its row.
#[must_use]
pub fn whose(owner: &str) -> &'static str {
    match owner {
        "engine" => "ours",
        "foreign" => "others",
        _ => "unseen",
    }
}
