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

/// Begins to look anew for the [most](most_beyond) that steps take of a GPU.
pub fn look_anew(compute: &Compute) {
    if let Device::Cuda(index) = compute.device {
        allocator::forget_peaks(index);
    }
}

/// Returns the most that tensors took of a GPU beyond `weights` since somebody [looks](look_anew). What libtorch keeps from before
/// is none of it. Nothing tells it of the processor.
#[must_use]
pub fn most_beyond(weights: Bytes, compute: &Compute) -> Option<Bytes> {
    let Device::Cuda(index) = compute.device else { return None };
    Some(allocator::held(index)?.most_allocated - weights)
}

/// Returns the private memory of this process; mapped files are the page cache's.
fn resident() -> Option<Bytes> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes::kib(kib))
}
