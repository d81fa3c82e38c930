//! Which precisions suit this box: what `perilune models inspect` says below a model.

use std::path::Path;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::output::table;
use crate::client::{Client, Gate};
use crate::daemon::advising::{candidate, of, suggest};
use crate::devices::{DeviceReading, Labelled, host_memory};
use crate::families::{Description, Source};
use crate::quant::advice::{Candidate, Suggestion};
use crate::units::{Bytes, DeviceId};
use crate::wire::{Reply, Request};
use crate::workflow::{Kind, Refusal};

/// A daemon that does not answer at once is not waited for: the processor is advised about without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns what is suggested for the network of a model on this machine, for one device after another.
pub(super) fn advice(context: &Context, path: &Path, sources: &[Source], description: &Description) -> Vec<Suggestion> {
    suggest(path, sources, description, &candidates(context))
}

/// Returns the devices that a daemon knows which runs already, else the processor.
fn candidates(context: &Context) -> Vec<Candidate> {
    let known: Vec<Candidate> = readings(context).unwrap_or_default().iter().filter_map(candidate).collect();
    if !known.is_empty() {
        return known;
    }
    let memory = host_memory(|path| std::fs::read_to_string(path).ok());
    let floor = context.settings.preset().floors.said(DeviceId::Cpu);
    memory.map(|memory| of(DeviceId::Cpu, memory, Bytes::ZERO, floor)).into_iter().collect()
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

/// Returns the suggestions as a table.
pub(super) fn text(suggestions: &[Suggestion]) -> String {
    let rows = suggestions.iter().map(|s| {
        let fits = if s.fits { "yes" } else { "no" };
        vec![Labelled(s.device).to_string(), s.to.clone(), s.bytes.to_string(), s.needed.to_string(), fits.to_owned(), s.reason.clone()]
    });
    table(&["device", "precision", "network", "needs", "fits", "why"], rows)
}
