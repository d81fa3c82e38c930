//! Names of things: devices, jobs, runs, sessions and blocks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place that can hold weights or compute: `cuda:N`, `cpu`, `disk`, or the simulated `sim:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceId {
    /// The N-th GPU in CUDA's order by PCI address.
    Cuda(u16),
    /// The N-th AMD GPU of `/sys/class/drm`; shown, never computed on.
    Amd(u16),
    /// A simulated GPU of a profile.
    Sim(u16),
    /// Host memory and processor.
    Cpu,
    /// The file system that holds the weights.
    Disk,
}

impl DeviceId {
    /// Returns whether it is a card: a GPU that is not simulated, with its own memory for all that it computes.
    #[must_use]
    pub const fn is_card(self) -> bool {
        matches!(self, Self::Cuda(_) | Self::Amd(_))
    }

    /// Returns whether it is a simulated GPU, whose memory and time are reckoned.
    #[must_use]
    pub const fn is_simulated(self) -> bool {
        matches!(self, Self::Sim(_))
    }
}

/// Why a text names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a device; use cuda:N, cpu, disk or sim:N")]
pub struct DeviceIdError {
    /// What was typed.
    pub text: String,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(n) => f.pad(&format!("cuda:{n}")),
            Self::Amd(n) => f.pad(&format!("amd:{n}")),
            Self::Sim(n) => f.pad(&format!("sim:{n}")),
            Self::Cpu => f.pad("cpu"),
            Self::Disk => f.pad("disk"),
        }
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let unknown = || DeviceIdError { text: text.to_owned() };
        match text.trim().to_ascii_lowercase().as_str() {
            "cpu" => Ok(Self::Cpu),
            "disk" => Ok(Self::Disk),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                let (kind, index) = other.split_once(':').ok_or_else(unknown)?;
                let index = index.parse().map_err(|_| unknown())?;
                match kind {
                    "cuda" => Ok(Self::Cuda(index)),
                    "amd" => Ok(Self::Amd(index)),
                    "sim" => Ok(Self::Sim(index)),
                    _ => Err(unknown()),
                }
            }
        }
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number!(
    /// A job in the ledger; never used twice.
    JobId(i64)
);
number!(
    /// One attempt at a job by one engine; never used twice.
    RunId(i64)
);
number!(
    /// A client's connection to the daemon.
    SessionId(u64)
);
number!(
    /// A block's place in its model's order of execution.
    BlockIndex(u32)
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device() -> impl Strategy<Value = DeviceId> {
        prop_oneof![
            any::<u16>().prop_map(DeviceId::Cuda),
            any::<u16>().prop_map(DeviceId::Amd),
            any::<u16>().prop_map(DeviceId::Sim),
            Just(DeviceId::Cpu),
            Just(DeviceId::Disk)
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_a_device_or_refused(text in "(cuda|sim|amd|cpu|disk|:|[0-9]|.){0,6}") {
            if let Ok(id) = text.parse::<DeviceId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn devices_read_back(id in device()) {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<DeviceId>(&json).unwrap(), id);
        }
    }

    #[test]
    fn reads_devices_as_typed() {
        assert_eq!("cuda".parse(), Ok(DeviceId::Cuda(0)));
        assert_eq!(" CUDA:3 ".parse(), Ok(DeviceId::Cuda(3)));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "cuda:99999"] {
            assert!(text.parse::<DeviceId>().is_err(), "{text}");
        }
    }
}
