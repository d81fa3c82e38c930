//! What engines hold of simulated GPUs: no driver tells, so it is added up from what each of them says.

use super::core::Core;
use super::sets;
use crate::devices::{DeviceReading, Memory};
use crate::placement::Share;
use crate::placement::plan::total;
use crate::units::{Bytes, DeviceId};

/// Returns what the engines of all devices but this one hold of simulated GPUs.
pub(super) fn held_by_others(core: &Core, device: DeviceId) -> Vec<Share> {
    let others = core.engines.values().filter(|e| e.device != device);
    total(&others.filter_map(|e| Some(e.memory.as_ref()?.simulated.clone())).collect::<Vec<_>>())
}

/// Lays over the reading of a simulated GPU what is held of it: weights, and the memory they pass through.
pub(super) fn account(core: &Core, reading: &mut DeviceReading) {
    let Some(memory) = reading.memory.filter(|_| reading.simulated) else { return };
    let engines = || core.engines.values().filter_map(|e| e.memory.as_ref());
    let used: Bytes = engines().flat_map(|m| &m.simulated).filter(|s| s.device == reading.id).map(|s| s.bytes).sum();
    let weights: Bytes = engines().map(|m| sets::weights_on(&m.sets, reading.id)).sum();
    reading.memory = Some(Memory { total: memory.total, used, free: memory.total - used });
    reading.activations = Some(used - weights);
}
