//! Which precisions of a model suit a box: its headers and its devices, put before `quant::advice`.

use std::path::Path;

use crate::conversion::{self, Part};
use crate::devices::{DeviceReading, Memory};
use crate::families::{Component, Description, Role, Source};
use crate::placement::budget::usual_reserve;
use crate::quant::advice::{Beside, Candidate, Sizes, Suggestion, advise};
use crate::quant::precision::{Mix, Target};
use crate::units::{Bytes, DeviceId};

/// What may be suggested, and what its sizes are reckoned by.
const TARGETS: [Target; 10] = [
    Target::Fp32,
    Target::Fp16,
    Target::Bf16,
    Target::Fp8E4m3fnScaled,
    Target::Fp8E5m2,
    Target::Nf4,
    Target::Gguf(Mix::Q8_0),
    Target::Gguf(Mix::Q6_K),
    Target::Gguf(Mix::Q5_K_M),
    Target::Gguf(Mix::Q4_K_M),
];

/// Returns what is suggested for the network of a model, for one device after another.
#[must_use]
pub fn suggest(path: &Path, sources: &[Source], description: &Description, candidates: &[Candidate]) -> Vec<Suggestion> {
    if !description.components.iter().any(|c| c.role == Role::Denoiser) {
        return Vec::new();
    }
    // What cannot be converted, or only be shown, has no advice; what it is has been said.
    let Ok(network) = conversion::sizes_in(path, sources, &TARGETS) else { return Vec::new() };
    if network.part != Part::One(Role::Denoiser) {
        return Vec::new();
    }
    let others = description.components.iter().filter(|c| c.role != Role::Denoiser).map(beside);
    let sizes = Sizes { stored: network.stored, bytes: network.bytes, targets: network.targets, beside: others.collect() };
    candidates.iter().flat_map(|candidate| advise(&sizes, candidate)).collect()
}

fn beside(component: &Component) -> Beside {
    Beside { bytes: component.bytes, stored: component.precision, is_wide: component.role == Role::Vae }
}

/// Returns a device that can be computed on, where its memory can be read.
#[must_use]
pub fn candidate(reading: &DeviceReading) -> Option<Candidate> {
    let computes = match reading.id {
        DeviceId::Cuda(_) => reading.is_gpu_that_computes(),
        DeviceId::Cpu | DeviceId::Sim(_) => true,
        DeviceId::Amd(_) | DeviceId::Disk => false,
    };
    let memory = reading.memory.filter(|_| computes)?;
    // What our own engines hold makes room for another model.
    let ours = reading.held.iter().map(|held| held.bytes).sum();
    Some(Candidate { capability: reading.capability, ..of(reading.id, memory, ours, reading.floor) })
}

/// Returns a device of which only its memory is known, what our own engines hold of that, and what of it is to stay free.
#[must_use]
pub fn of(device: DeviceId, memory: Memory, ours: Bytes, floor: Option<Bytes>) -> Candidate {
    let free = (memory.free + ours).min(memory.total);
    Candidate { device, capability: None, total: memory.total, free, margin: floor.unwrap_or_else(|| usual_reserve(device, memory.total)) }
}
