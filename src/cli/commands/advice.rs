//! Which precisions suit this box: what `perilune models inspect` says below a model.

use std::path::Path;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::output::table;
use crate::client::{Client, Gate};
use crate::conversion::{self, Part};
use crate::devices::{DeviceReading, Labelled, Memory, host_memory};
use crate::families::{Component, Description, Role};
use crate::placement::budget::usual_reserve;
use crate::quant::advice::{Beside, Candidate, Sizes, Suggestion, advise};
use crate::quant::precision::{Mix, Target};
use crate::units::{Bytes, DeviceId};
use crate::wire::{Reply, Request};
use crate::workflow::{Kind, Refusal};

/// A daemon that does not answer at once is not waited for: the processor is advised about without it.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Returns what is suggested for the network of a model on this machine, for one device after another.
pub(super) fn advice(context: &Context, path: &Path, description: &Description) -> Vec<Suggestion> {
    if !description.components.iter().any(|c| c.role == Role::Denoiser) {
        return Vec::new();
    }
    // What cannot be converted, or only be shown, has no advice; what it is has been said.
    let Ok(network) = conversion::sizes(path, &TARGETS) else { return Vec::new() };
    if network.part != Part::One(Role::Denoiser) {
        return Vec::new();
    }
    let others = description.components.iter().filter(|c| c.role != Role::Denoiser).map(beside);
    let sizes = Sizes { stored: network.stored, bytes: network.bytes, targets: network.targets, beside: others.collect() };
    candidates(context).iter().flat_map(|candidate| advise(&sizes, candidate)).collect()
}

fn beside(component: &Component) -> Beside {
    Beside { bytes: component.bytes, stored: component.precision, is_wide: component.role == Role::Vae }
}

/// Returns the devices that a daemon knows which runs already, else the processor.
fn candidates(context: &Context) -> Vec<Candidate> {
    let known: Vec<Candidate> = readings(context).unwrap_or_default().iter().filter_map(candidate).collect();
    if !known.is_empty() {
        return known;
    }
    let memory = host_memory(|path| std::fs::read_to_string(path).ok());
    memory.map(|memory| of(DeviceId::Cpu, memory, Bytes::ZERO)).into_iter().collect()
}

fn readings(context: &Context) -> Result<Vec<DeviceReading>, Refusal> {
    let gate = Gate::of(&context.settings, context.place.clone(), false, context.environment.program());
    let asked = async {
        match Client::connect(&gate).await?.call(Request::Devices).await? {
            Reply::Devices { devices, .. } => Ok(devices),
            reply => Err(crate::client::call::unexpected(&reply)),
        }
    };
    context.wait_for(async {
        let silent = |_| Refusal::bare(Kind::NoDaemon, "the daemon does not answer");
        tokio::time::timeout(PATIENCE, asked).await.map_err(silent)?
    })
}

/// Returns a device that can be computed on, where its memory can be read.
fn candidate(reading: &DeviceReading) -> Option<Candidate> {
    let computes = match reading.id {
        DeviceId::Cuda(_) => reading.is_gpu_that_computes(),
        DeviceId::Cpu | DeviceId::Sim(_) => true,
        DeviceId::Amd(_) | DeviceId::Disk => false,
    };
    let memory = reading.memory.filter(|_| computes)?;
    // What our own engines hold makes room for another model.
    let ours = reading.held.iter().map(|held| held.bytes).sum();
    Some(Candidate { capability: reading.capability, ..of(reading.id, memory, ours) })
}

fn of(device: DeviceId, memory: Memory, ours: Bytes) -> Candidate {
    let free = (memory.free + ours).min(memory.total);
    Candidate { device, capability: None, total: memory.total, free, margin: usual_reserve(device, memory.total) }
}

/// Returns the suggestions as a table.
pub(super) fn text(suggestions: &[Suggestion]) -> String {
    let rows = suggestions.iter().map(|s| {
        let fits = if s.fits { "yes" } else { "no" };
        vec![Labelled(s.device).to_string(), s.to.clone(), s.bytes.to_string(), s.needed.to_string(), fits.to_owned(), s.reason.clone()]
    });
    table(&["device", "precision", "network", "needs", "fits", "why"], rows)
}
