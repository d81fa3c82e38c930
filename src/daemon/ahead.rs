//! Sets that a profile has loaded before any job wants them: looked at once the devices are known, then loaded like others.
//!
//! Nobody waits for them, so what becomes of each is told to operators.

use std::time::Duration;

use super::core::Core;
use super::handlers;
use super::output::Output;
use super::pending::Pending;
use super::sets;
use crate::placement::Part;
use crate::profile::Preset;
use crate::wire::SetView;
use crate::workflow::{JobDraft, JobSpec, Refusal};

/// A set that is loaded ahead, and how long it stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    /// What is loaded.
    pub draft: JobDraft,
    /// Whether it stays whoever asks for its memory.
    pub pin: bool,
    /// How long it stays that no job uses.
    pub keep: Option<Duration>,
}

impl Ahead {
    /// Returns what a profile has loaded, placed as the profile says.
    #[must_use]
    pub fn of(preset: &Preset) -> Vec<Self> {
        let mut parts = preset.asks();
        let offload = parts.take(Part::Denoiser);
        let one = |set: &crate::profile::SetPreset| Self {
            draft: JobDraft {
                model: set.model.clone(),
                variant: set.variant.clone(),
                vae: set.vae.clone(),
                clip: set.clip.clone(),
                precision: set.precision.clone().or(preset.precision.clone()),
                compute_device: set.compute_device.or(preset.computes_on()),
                offload: offload.clone(),
                parts: parts.clone(),
                ..JobDraft::default()
            },
            pin: set.pin,
            keep: set.keep,
        };
        preset.sets.iter().map(one).collect()
    }
}

/// The daemon begins: has the devices read, where sets are to be loaded.
pub(super) fn begin(core: &mut Core) {
    if !core.policy.ahead.is_empty() {
        handlers::read_devices(core, Pending::ReadingsAhead, handlers::submit::FIRST_READING);
    }
}

/// The devices were read: has each model looked at.
pub(super) fn readings(core: &mut Core) {
    for (at, draft) in core.policy.ahead.iter().map(|ahead| Box::new(ahead.draft.clone())).enumerate().collect::<Vec<_>>() {
        let defaults = Box::new(handlers::submit::defaults(core));
        let ticket = core.expect(Pending::LookAhead(at));
        core.emit(Output::Prepare { ticket, draft, defaults });
    }
}

/// It is known what is to be loaded, or why it cannot be.
pub(super) fn prepared(core: &mut Core, at: usize, checked: Result<Box<JobSpec>, Refusal>) {
    match checked.and_then(handlers::sets::converted) {
        Ok(spec) => sets::load_ahead(core, at, spec),
        Err(refusal) => failed(core, at, &refusal),
    }
}

/// A set is loaded: it stays as the profile says.
pub(super) fn loaded(core: &mut Core, at: usize, set: &SetView) {
    let Some((pin, keep)) = core.policy.ahead.get(at).map(|ahead| (ahead.pin, ahead.keep)) else { return };
    if pin {
        sets::pin(core, set);
    }
    if keep.is_some() {
        sets::keep(core, set, keep);
    }
    core.notice("info", format!("set `{}` is loaded on {}, as the profile says", set.name, set.device), None);
}

/// A set is not loaded.
pub(super) fn failed(core: &mut Core, at: usize, refusal: &Refusal) {
    // A daemon that ends has nothing more to load.
    if core.stop_by.is_some() {
        return;
    }
    let Some(model) = core.policy.ahead.get(at).map(|ahead| ahead.draft.model.clone()) else { return };
    let hint = refusal.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    core.notice("warn", format!("set `{model}` of the profile is not loaded: {}{hint}", refusal.message), None);
}
