//! Donors are a list in YAML; the text that is typed is taken, too.

use serde::{Deserialize, Deserializer, de::Error};
use serde_yaml::Value;

use crate::placement::{AllocationError, Donors};
use crate::units::DeviceId;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<DeviceId>, D::Error> {
    match typed(&Value::deserialize(from)?) {
        Some(donors) => donors.map(|donors| donors.0).map_err(|error| D::Error::custom(format_args!("donor_device: {error}"))),
        None => Err(D::Error::custom("donor_device is a list of devices, such as [cpu, disk]")),
    }
}

/// Reads a value that is one, device by device as the flag does; whoever is named twice is told of where it is known who computes.
pub(super) fn typed(value: &Value) -> Option<Result<Donors, AllocationError>> {
    match value {
        Value::Null => Some(Ok(Donors::default())),
        Value::String(text) => Some(text.parse()),
        Value::Sequence(items) => {
            let texts: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
            let devices = texts.into_iter().map(|text| text.parse::<Donors>().map(|donors| donors.0));
            Some(devices.collect::<Result<Vec<_>, _>>().map(|devices| Donors(devices.concat())))
        }
        Value::Bool(_) | Value::Number(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}
