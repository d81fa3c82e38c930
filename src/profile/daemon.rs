//! What a profile says of the box: how a daemon that is started with it behaves. Jobs have nothing to do with it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::units::Bytes;

/// The most conversions at once; each has a process and memory of its own.
const MOST_CONVERSIONS: u32 = 64;
/// The longest that an idle engine waits, in seconds: a year is as good as never.
const LONGEST_IDLE_S: f64 = 31_536_000.0;

/// How a daemon behaves, as far as it is said. Each wins over the setting of the same name in `config.yaml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonPreset {
    /// How much of a disk conversions leave free.
    #[serde(with = "as_text", skip_serializing_if = "Option::is_none")]
    pub disk_floor: Option<Bytes>,
    /// Seconds after which an idle engine ends and gives its memory back.
    #[serde(deserialize_with = "idle", skip_serializing_if = "Option::is_none")]
    pub engine_idle_s: Option<f64>,
    /// Processor threads of an engine.
    #[serde(deserialize_with = "threads", skip_serializing_if = "Option::is_none")]
    pub engine_threads: Option<u32>,
    /// The most conversions that the daemon makes at once.
    #[serde(deserialize_with = "at_once", skip_serializing_if = "Option::is_none")]
    pub conversions_at_once: Option<u32>,
}

impl DaemonPreset {
    /// Returns whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns this preset with the other's values where it has none.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            disk_floor: self.disk_floor.or(below.disk_floor),
            engine_idle_s: self.engine_idle_s.or(below.engine_idle_s),
            engine_threads: self.engine_threads.or(below.engine_threads),
            conversions_at_once: self.conversions_at_once.or(below.conversions_at_once),
        }
    }
}

fn idle<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(Option::<f64>::deserialize(from)?, "engine_idle_s", 0.0, LONGEST_IDLE_S)
}

fn threads<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    within(Option::<u32>::deserialize(from)?, "engine_threads", 1, u32::MAX)
}

fn at_once<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    within(Option::<u32>::deserialize(from)?, "conversions_at_once", 1, MOST_CONVERSIONS)
}

fn within<T: PartialOrd + Copy + std::fmt::Display, E: Error>(value: Option<T>, name: &str, least: T, most: T) -> Result<Option<T>, E> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(E::custom(format_args!("{name} is {value}, and must be from {least} to {most}")))
        }
        value => Ok(value),
    }
}

/// A size is a text in YAML.
mod as_text {
    use super::{Bytes, Deserialize, Deserializer, Error, Serializer};

    #[expect(clippy::ref_option, reason = "serde's own signature")]
    pub(super) fn serialize<S: Serializer>(size: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => to.collect_str(&format_args!("{}B", size.get())),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|t| t.parse().map_err(|e| D::Error::custom(format_args!("disk_floor: {e}")))).transpose()
    }
}

/// The number of the shape that profiles have. One that is left out is the present one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Schema;

/// The present shape of profiles.
const SCHEMA: u64 = 1;

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::deserialize(from)? {
            SCHEMA => Ok(Self),
            other => Err(D::Error::custom(format_args!("schema is {other}; this version reads schema {SCHEMA}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Preset;
    use crate::units::Bytes;

    #[test]
    fn a_box_is_described_and_read_back() {
        let text = "schema: 1\ndaemon: {disk_floor: 20GiB, engine_idle_s: 900, engine_threads: 8, conversions_at_once: 2}\n";
        let preset = Preset::parse(text, "box.yaml").unwrap();
        assert_eq!((preset.daemon.disk_floor, preset.daemon.engine_threads), (Some(Bytes::gib(20)), Some(8)));
        assert_eq!(Preset::parse(&preset.write(), "box.yaml"), Ok(preset));
    }

    #[test]
    fn mistakes_have_a_line_and_a_column() {
        for (text, problem) in [
            ("steps: 4\nschema: 2\n", "schema is 2; this version reads schema 1 at line 2 column 1"),
            ("daemon:\n  engine_threads: 0\n", "engine_threads is 0, and must be from 1 to 4294967295 at line 2 column"),
            ("daemon:\n  disk_floor: plenty\n", "line 2 column"),
            ("daemon:\n  conversions_at_once: 65\n", "and must be from 1 to 64 at line 2 column"),
            ("daemon:\n  engine_idle_s: -1\n", "and must be from 0 to 31536000 at line 2 column"),
            ("daemon:\n  floor: 1GiB\n", "unknown field `floor`"),
        ] {
            let message = Preset::parse(text, "box.yaml").unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
