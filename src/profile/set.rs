//! A model that a daemon with this profile loads before any job wants it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::quant::precision::Target;
use crate::units::DeviceId;

/// The longest that a set can be told to stay: a year. What is to stay longer is pinned.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A model that is loaded ahead, and how long it stays. Where it is computed and where its weights live is the profile's word,
/// unless it says so itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPreset {
    /// A path, or a name from the model folders.
    pub model: String,
    /// Which member of its family it is, where its shapes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// An autoencoder to use instead of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// Text encoders to use instead of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clip: Vec<String>,
    /// What to compute in, or what the diffusion network is stored as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Target>,
    /// The device that computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_device: Option<DeviceId>,
    /// Whether it stays whoever asks for its memory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pin: bool,
    /// How long it stays that no job uses; for ever where nothing is said.
    #[serde(default, with = "as_text", skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's own signature")]
fn is_false(pin: &bool) -> bool {
    !pin
}

/// A time is a number and a unit in YAML: `30m`, `8h`.
mod as_text {
    use super::{Deserialize, Deserializer, Duration, Error, LONGEST, Serializer};

    #[expect(clippy::ref_option, reason = "serde's own signature")]
    pub(super) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(&format_args!("{}s", time.as_secs())),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let wrong = |why: String| D::Error::custom(format_args!("keep: `{text}` is no time such as 30m or 8h ({why})"));
        let span: jiff::Span = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
        let whole = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|e| wrong(e.to_string()))?;
        let time = Duration::try_from(whole).map_err(|_| wrong("it is below zero".to_owned()))?;
        if time > LONGEST { Err(wrong("a year is the longest; `pin: true` is for ever".to_owned())) } else { Ok(Some(time)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Preset;

    #[test]
    fn sets_and_floors_are_read_and_written_back() {
        let text = "floors: {gpus: 2GiB, cpu: 8GiB}\nsets:\n- {model: flux1-dev, pin: true}\n- {model: sdxl, precision: Q8_0, keep: 30m}\n";
        let preset = Preset::parse(text, "box.yaml").unwrap();
        assert_eq!((preset.sets[0].pin, preset.sets[0].keep), (true, None));
        assert_eq!((preset.sets[1].pin, preset.sets[1].keep), (false, Some(Duration::from_mins(30))));
        let written = preset.write();
        assert!(!written.contains("null") && !written.contains("vae"), "{written}");
        assert_eq!(Preset::parse(&written, "box.yaml"), Ok(preset));
    }

    #[test]
    fn mistakes_have_a_line_and_a_column() {
        for (text, problem) in [
            ("sets:\n- {pin: true}\n", "missing field `model` at line 2 column"),
            ("sets:\n- {model: a, pinned: true}\n", "unknown field `pinned`"),
            ("sets:\n- {model: a, keep: long}\n", "`long` is no time such as 30m or 8h"),
            ("sets:\n- {model: a, keep: 9000h}\n", "a year is the longest"),
            ("steps: 4\nfloors: {cpu: plenty}\n", "at line 2 column"),
            ("floors: {disk: 2GiB}\n", "what stays free of a disk is `disk_floor` at line 1 column"),
        ] {
            let message = Preset::parse(text, "box.yaml").unwrap_err().to_string();
            assert!(message.contains(problem) && message.contains(" at line "), "{message}");
        }
    }
}
