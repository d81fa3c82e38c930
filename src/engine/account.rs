//! Memory beyond weights: activations, buffers, and what the library keeps for later.

use std::fs;

use tch::Device;

use super::allocator;
use super::device::Compute;
use crate::units::Bytes;

/// What the process held before it loaded anything.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    at_start: Option<Bytes>,
}

impl Account {
    /// Remembers what the process holds now.
    #[must_use]
    pub fn start() -> Self {
        Self { at_start: resident() }
    }

    /// Returns what is held beyond `weights`: on a GPU what libtorch has taken from the driver, be it in use or kept for later.
    #[must_use]
    pub fn beyond(&self, weights: Bytes, compute: &Compute) -> Option<Bytes> {
        match compute.device {
            Device::Cpu => Some(resident()? - self.at_start? - weights),
            Device::Cuda(index) => Some(allocator::held(index)?.reserved - weights),
            Device::Mps | Device::Vulkan => None,
        }
    }
}

/// Returns the private memory of this process; mapped files are the page cache's.
fn resident() -> Option<Bytes> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes::kib(kib))
}
