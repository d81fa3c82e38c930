//! How much of each device stays free: what the operator says, or else what is usual.
//!
//! Plans leave it, and a run gives weights back when less is free.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeMap};

use super::budget::{margin, usual_reserve};
use crate::units::{Bytes, DeviceId};

/// The word for every GPU that has no floor of its own.
const GPUS: &str = "gpus";

/// Bytes that stay free, by device, as far as it is said. Written as a map of sizes: `{gpus: 2GiB, cuda:0: 4GiB, cpu: 16GiB}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    gpus: Option<Bytes>,
    devices: BTreeMap<DeviceId, Bytes>,
}

impl Floors {
    /// Returns what is said of a device.
    #[must_use]
    pub fn said(&self, device: DeviceId) -> Option<Bytes> {
        let of_gpus = match device {
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) => self.gpus,
            DeviceId::Cpu | DeviceId::Disk => None,
        };
        self.devices.get(&device).copied().or(of_gpus)
    }

    /// Returns how much of a device of this size plans leave free.
    #[must_use]
    pub fn reserve(&self, device: DeviceId, total: Bytes) -> Bytes {
        self.said(device).map_or_else(|| usual_reserve(device, total), |floor| floor.min(total))
    }

    /// Returns how much of it must be free between two steps: with less, a run gives weights back.
    #[must_use]
    pub fn margin(&self, device: DeviceId, total: Bytes) -> Bytes {
        self.said(device).map_or_else(|| margin(device, total), |floor| floor.min(total))
    }

    /// Returns whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns these floors with the others' where they say nothing.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let mut devices = below.devices;
        // What is said of every GPU above is said of each.
        devices.retain(|device, _| self.said(*device).is_none());
        devices.extend(self.devices);
        Self { gpus: self.gpus.or(below.gpus), devices }
    }
}

impl Serialize for Floors {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let size = |bytes: &Bytes| format!("{}B", bytes.get());
        let mut map = to.serialize_map(None)?;
        if let Some(gpus) = &self.gpus {
            map.serialize_entry(GPUS, &size(gpus))?;
        }
        for (device, bytes) in &self.devices {
            map.serialize_entry(device, &size(bytes))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Floors {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut floors = Self::default();
        for (name, size) in BTreeMap::<String, String>::deserialize(from)? {
            let bytes: Bytes = size.parse().map_err(|e| D::Error::custom(format_args!("floors: {name}: {e}")))?;
            if name == GPUS {
                floors.gpus = Some(bytes);
                continue;
            }
            match name.parse() {
                Ok(DeviceId::Disk) => {
                    return Err(D::Error::custom("floors: disk: what stays free of a disk is `disk_floor`"));
                }
                Ok(device) => drop(floors.devices.insert(device, bytes)),
                Err(_) => {
                    let problem = format_args!("floors: `{name}` has no memory to keep free; use gpus, cuda:0, sim:0 or cpu");
                    return Err(D::Error::custom(problem));
                }
            }
        }
        Ok(floors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: DeviceId = DeviceId::Cuda(0);

    fn floors(text: &str) -> Floors {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_said_of_a_device_wins_over_what_is_said_of_all() {
        let said = floors("{gpus: 2GiB, cuda:0: 4GiB, cpu: 16GiB}");
        assert_eq!(said.reserve(GPU, Bytes::gib(24)), Bytes::gib(4));
        assert_eq!(said.margin(DeviceId::Sim(3), Bytes::gib(24)), Bytes::gib(2));
        assert_eq!(said.margin(DeviceId::Cpu, Bytes::gib(12)), Bytes::gib(12), "no more than there is");
        assert_eq!(said.said(DeviceId::Disk), None);
        let none = Floors::default();
        assert_eq!(none.reserve(GPU, Bytes::gib(24)), usual_reserve(GPU, Bytes::gib(24)));
        assert_eq!(none.margin(DeviceId::Cpu, Bytes::gib(24)), margin(DeviceId::Cpu, Bytes::gib(24)));
    }

    #[test]
    fn what_lies_above_wins_also_where_it_is_about_every_gpu() {
        let both = floors("{gpus: 2GiB}").over(floors("{gpus: 1GiB, cuda:0: 4GiB, cpu: 16GiB}"));
        assert_eq!((both.said(GPU), both.said(DeviceId::Cpu)), (Some(Bytes::gib(2)), Some(Bytes::gib(16))));
        let one = floors("{cuda:0: 4GiB}").over(floors("{gpus: 1GiB}"));
        assert_eq!((one.said(GPU), one.said(DeviceId::Cuda(1))), (Some(Bytes::gib(4)), Some(Bytes::gib(1))));
    }

    #[test]
    fn floors_read_back_and_mistakes_are_named() {
        let said = floors("{gpus: 2GiB, cuda:1: 500MiB, cpu: 1.5g}");
        assert_eq!(serde_json::from_str::<Floors>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
        for (text, problem) in [
            ("{disk: 2GiB}", "what stays free of a disk is `disk_floor`"),
            ("{gpu0: 2GiB}", "`gpu0` has no memory to keep free"),
            ("{cpu: plenty}", "floors: cpu: `plenty` is not a unit of bytes"),
        ] {
            let error = serde_yaml::from_str::<Floors>(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
