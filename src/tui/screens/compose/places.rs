//! The fields of the form that say where weights live: each is about the diffusion network and, behind `|`, about other parts.
//!
//! ```text
//! 4GiB | clip=200MiB | vae=auto
//! ```

use std::fmt::Display;
use std::str::FromStr;

use crate::placement::{AllocationError, Donors, Expert, OfPart, OffloadAsk, Part, Pins, VirtualVram};
use crate::workflow::{JobDraft, Kind, Refusal};

/// Returns how much of each part leaves the device that computes.
pub(super) fn virtual_vram(draft: &JobDraft) -> String {
    let is_said = |part: Part, ask: &OffloadAsk| part != Part::Denoiser && *ask == OffloadAsk::default();
    text(draft, |part, ask| Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None || is_said(part, ask)))
}

/// Returns who takes it.
pub(super) fn donors(draft: &JobDraft) -> String {
    text(draft, |_, ask| Some(Donors(ask.donors.clone())).filter(|d| !d.0.is_empty()))
}

/// Returns how much goes where, instead of the two above.
pub(super) fn expert(draft: &JobDraft) -> String {
    text(draft, |_, ask| ask.expert.clone())
}

/// Returns the blocks that must live on a certain device.
pub(super) fn pins(draft: &JobDraft) -> String {
    text(draft, |_, ask| Some(ask.pins.clone()).filter(|p| !p.is_empty()))
}

/// Reads how much of each part leaves.
pub(super) fn write_virtual_vram(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    // That nothing of a part leaves is said here.
    draft.parts = draft.parts.iter().filter(|(_, ask)| **ask != OffloadAsk::default()).map(|(part, ask)| (part, ask.clone())).collect();
    write::<VirtualVram>(text, draft, |ask, value| ask.virtual_vram = value.unwrap_or_default())
}

/// Reads who takes it.
pub(super) fn write_donors(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<Donors>(text, draft, |ask, value| ask.donors = value.unwrap_or_default().0)
}

/// Reads how much goes where. A whole string of the original says what the three fields before this one say, too: they are
/// empty then, or the same.
pub(super) fn write_expert(text: &str, draft: &mut JobDraft) -> Result<(), Refusal> {
    let values = OfPart::<Expert>::read_all(text).map_err(|error| refusal(&error))?;
    for OfPart { part, value } in &values {
        let Expert::Full(full) = value else { continue };
        let said = if *part == Part::Denoiser { draft.offload.clone() } else { draft.parts.said(*part).cloned().unwrap_or_default() };
        if said.virtual_vram != VirtualVram::None || !said.donors.is_empty() {
            let message = format!("`{full}` says how much leaves, and who takes it, as another field does");
            return Err(Refusal::new(Kind::Usage, message, "leave those fields empty, or leave `#` and what follows away"));
        }
        if let Some(other) = draft.compute_device.filter(|other| *other != full.compute) {
            let message = format!("`#{}` and {other} are two devices that compute", full.compute);
            return Err(Refusal::new(Kind::Usage, message, "one device computes all parts: leave out one of the two"));
        }
        draft.compute_device = Some(full.compute);
    }
    set_each(values, draft, |ask, value| match value {
        None => ask.expert = None,
        Some(Expert::Alone(allocation)) => ask.expert = Some(allocation),
        Some(Expert::Full(full)) => *ask = OffloadAsk { pins: std::mem::take(&mut ask.pins), ..full.ask },
    });
    Ok(())
}

/// Says what is wrong with a text, and what to do about it.
pub(super) fn refusal(error: &AllocationError) -> Refusal {
    Refusal::new(Kind::Usage, error.to_string(), error.hint)
}

/// Reads the blocks that must live on a certain device.
pub(super) fn write_pins(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<Pins>(text, draft, |ask, value| ask.pins = value.unwrap_or_default())
}

fn text<T: Display>(draft: &JobDraft, of: impl Fn(Part, &OffloadAsk) -> Option<T>) -> String {
    let asks = [(Part::Denoiser, &draft.offload)].into_iter().chain(draft.parts.iter());
    let values = asks.filter_map(|(part, ask)| Some(OfPart { part, value: of(part, ask)? }.to_string()));
    values.collect::<Vec<_>>().join(" | ")
}

/// What the text does not name is said of no part any more.
fn write<T: FromStr<Err = AllocationError>>(
    text: &str,
    draft: &mut JobDraft,
    set: impl Fn(&mut OffloadAsk, Option<T>),
) -> Result<(), AllocationError> {
    set_each(OfPart::<T>::read_all(text)?, draft, set);
    Ok(())
}

fn set_each<T>(values: Vec<OfPart<T>>, draft: &mut JobDraft, set: impl Fn(&mut OffloadAsk, Option<T>)) {
    for part in Part::ALL.iter().filter(|part| **part != Part::Denoiser) {
        draft.parts.unsay(*part, |ask| set(ask, None));
    }
    set(&mut draft.offload, None);
    for OfPart { part, value } in values {
        match part {
            Part::Denoiser => set(&mut draft.offload, Some(value)),
            part => draft.parts.edit(part, |ask| set(ask, Some(value))),
        }
    }
}
