//! Gigabytes are a number in YAML, as in the workflows that users come with; other units are text.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use serde_yaml::Value;

use crate::placement::{AllocationError, VirtualVram};

#[expect(clippy::ref_option, reason = "serde's own signature")]
pub(super) fn serialize<S: Serializer>(amount: &Option<VirtualVram>, to: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => to.collect_str(amount),
        None => to.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<VirtualVram>, D::Error> {
    match typed(&Value::deserialize(from)?) {
        Some(amount) => amount.map_err(|error| D::Error::custom(format_args!("virtual_vram_gb: {error}"))),
        None => Err(D::Error::custom("virtual_vram_gb is a number of gigabytes, a size such as 800MiB, or auto")),
    }
}

/// Reads a value that is one, as the flag does.
pub(super) fn typed(value: &Value) -> Option<Result<Option<VirtualVram>, AllocationError>> {
    match value {
        Value::Null => Some(Ok(None)),
        Value::Number(number) => Some(format!("{number}GiB").parse().map(Some)),
        Value::String(text) => Some(text.parse().map(Some)),
        Value::Bool(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}
