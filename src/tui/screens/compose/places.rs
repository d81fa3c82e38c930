//! The fields of the form that say where weights live: each is about the diffusion network and, behind `|`, about other parts.
//!
//! ```text
//! 4GiB | clip=200MiB | vae=auto
//! ```

use std::fmt::Display;
use std::str::FromStr;

use crate::placement::{Allocation, AllocationError, Donors, OfPart, OffloadAsk, Part, Pins, VirtualVram};
use crate::workflow::JobDraft;

/// Returns how much of each part leaves the device that computes.
pub(super) fn virtual_vram(draft: &JobDraft) -> String {
    text(draft, |ask| Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None))
}

/// Returns who takes it.
pub(super) fn donors(draft: &JobDraft) -> String {
    text(draft, |ask| Some(Donors(ask.donors.clone())).filter(|d| !d.0.is_empty()))
}

/// Returns how much goes where, instead of the two above.
pub(super) fn expert(draft: &JobDraft) -> String {
    text(draft, |ask| ask.expert.clone())
}

/// Returns the blocks that must live on a certain device.
pub(super) fn pins(draft: &JobDraft) -> String {
    text(draft, |ask| Some(ask.pins.clone()).filter(|p| !p.is_empty()))
}

/// Reads how much of each part leaves.
pub(super) fn write_virtual_vram(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<VirtualVram>(text, draft, |ask, value| ask.virtual_vram = value.unwrap_or_default())
}

/// Reads who takes it.
pub(super) fn write_donors(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<Donors>(text, draft, |ask, value| ask.donors = value.unwrap_or_default().0)
}

/// Reads how much goes where.
pub(super) fn write_expert(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<Allocation>(text, draft, |ask, value| ask.expert = value)
}

/// Reads the blocks that must live on a certain device.
pub(super) fn write_pins(text: &str, draft: &mut JobDraft) -> Result<(), AllocationError> {
    write::<Pins>(text, draft, |ask, value| ask.pins = value.unwrap_or_default())
}

fn text<T: Display>(draft: &JobDraft, of: impl Fn(&OffloadAsk) -> Option<T>) -> String {
    let asks = [(Part::Denoiser, &draft.offload)].into_iter().chain(draft.parts.iter());
    let values = asks.filter_map(|(part, ask)| Some(OfPart { part, value: of(ask)? }.to_string()));
    values.collect::<Vec<_>>().join(" | ")
}

/// What the text does not name is said of no part any more.
fn write<T: FromStr<Err = AllocationError>>(
    text: &str,
    draft: &mut JobDraft,
    set: impl Fn(&mut OffloadAsk, Option<T>),
) -> Result<(), AllocationError> {
    let values = OfPart::<T>::read_all(text)?;
    for part in Part::ALL.iter().filter(|part| **part != Part::Denoiser) {
        draft.parts.edit(*part, |ask| set(ask, None));
    }
    set(&mut draft.offload, None);
    for OfPart { part, value } in values {
        match part {
            Part::Denoiser => set(&mut draft.offload, Some(value)),
            part => draft.parts.edit(part, |ask| set(ask, Some(value))),
        }
    }
    Ok(())
}
