//! Gigabytes are a number in YAML, as in the workflows that users come with; other units are text.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use serde_yaml::Value;

use crate::placement::VirtualVram;

#[expect(clippy::ref_option, reason = "serde's own signature")]
pub(super) fn serialize<S: Serializer>(amount: &Option<VirtualVram>, to: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => to.collect_str(amount),
        None => to.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<VirtualVram>, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::Null => return Ok(None),
        Value::Number(number) => format!("{number}GiB"),
        Value::String(text) => text,
        Value::Bool(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            return Err(D::Error::custom("virtual_vram_gb is a number of gigabytes, a size such as 800MiB, or auto"));
        }
    };
    text.parse().map(Some).map_err(|error| D::Error::custom(format_args!("virtual_vram_gb: {error}")))
}
