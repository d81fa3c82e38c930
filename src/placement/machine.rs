//! What is known of the machine that plans are made for: memory and speeds, measured or assumed.

use serde::{Deserialize, Serialize};

use super::ask::OffloadAsk;
use super::budget::Room;
use super::pace::Pace;
use super::propose::Model;
use crate::units::{Bytes, DeviceId};

/// How fast a device is, as far as it was measured, and otherwise assumed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Floating-point operations a second.
    pub flops: f64,
    /// Bytes a second from a donor to the device that computes.
    pub bytes_per_second: f64,
    /// Whether both were measured here.
    pub measured: bool,
}

impl Speed {
    /// Returns what is assumed of a device that nothing was measured of: a middling one of its kind.
    #[must_use]
    pub const fn assumed(device: DeviceId) -> Self {
        let (flops, bytes_per_second) = match device {
            // Eight cores with AVX2 in fp32; two channels of memory. What is simulated computes there, too.
            DeviceId::Cpu | DeviceId::Sim(_) => (3e11, 12e9),
            // A card of the middle class in 16 bits, behind PCIe 4.0 x16.
            DeviceId::Cuda(_) | DeviceId::Amd(_) => (3e13, 20e9),
            // An NVMe disk behind PCIe 3.0 x4.
            DeviceId::Disk => (0.0, 2e9),
        };
        Self { flops, bytes_per_second, measured: false }
    }
}

/// What is known of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The memory of its devices.
    pub rooms: Vec<Room>,
    /// The speed of those of which it was measured.
    pub speeds: Vec<(DeviceId, Speed)>,
    /// How fast the device that computes does so.
    pub pace: Pace,
    /// Seconds before the first byte from a donor, where that is known.
    #[serde(default)]
    pub latencies: Vec<(DeviceId, f64)>,
}

impl Machine {
    /// Returns how fast a device is.
    #[must_use]
    pub fn speed(&self, device: DeviceId) -> Speed {
        self.speeds.iter().find(|(d, _)| *d == device).map_or(Speed::assumed(device), |(_, speed)| *speed)
    }

    /// Returns it with as much of the GPU that computes taken as activations will take, and a tenth more, where an ask leaves it to
    /// us how much weights may.
    pub(super) fn with_room_for_activations(&self, ask: &OffloadAsk, compute: DeviceId, model: &Model) -> Option<Self> {
        let mut machine = Some(self).filter(|_| ask.is_auto() && compute.is_card() && model.activations > Bytes::ZERO)?.clone();
        let room = machine.rooms.iter_mut().find(|room| room.device == compute)?;
        room.committed += model.activations + Bytes(model.activations.get() / 10);
        Some(machine)
    }

    /// Returns the seconds before the first byte from a donor; as good as none where nothing is known.
    #[must_use]
    pub fn latency_s(&self, donor: DeviceId) -> f64 {
        self.latencies.iter().find(|(d, _)| *d == donor).map_or(0.0, |(_, seconds)| *seconds)
    }
}
