//! Who may hold weights, as toggles.

use super::State;
use super::facts::Worked;
use super::state::Wish;
use super::wish::{self, Amounts, List, Way};
use crate::devices::Health;
use crate::placement::decimal::Decimal;
use crate::placement::{Allocation, OffloadAsk, OffloadPlan, Parts};
use crate::tui::model::Model;
use crate::units::{Bytes, DeviceId};

/// A device that could hold weights for the one that computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Donor {
    /// The device.
    pub device: DeviceId,
    /// Whether the wish gives it any.
    pub chosen: bool,
    /// Why it cannot, if it cannot.
    pub problem: Option<&'static str>,
}

/// Returns every device that could, GPUs first, the disk last.
#[must_use]
pub fn donors(model: &Model) -> Vec<Donor> {
    let Some(facts) = &model.offload.facts else { return Vec::new() };
    let compute = facts.view.compute;
    let chosen = chosen(&model.offload, compute);
    let rooms = facts.view.machine.rooms.iter().map(|r| r.device).filter(|d| *d != DeviceId::Cpu);
    // Simulated memory is none that a real device could use.
    let rooms = rooms.filter(|d| compute.is_simulated() || !d.is_simulated());
    let mut devices: Vec<DeviceId> = rooms.collect();
    devices.sort_unstable();
    devices.extend([DeviceId::Cpu, DeviceId::Disk]);
    // What is named and not there must be seen to be taken out.
    devices.extend(chosen.iter().copied().filter(|d| !devices.contains(d)).collect::<Vec<_>>());
    let donor = |device| Donor { device, chosen: chosen.contains(&device), problem: problem(model, device) };
    devices.into_iter().filter(|d| *d != compute).map(donor).collect()
}

/// Returns why a device cannot hold weights, in a word.
#[must_use]
pub fn problem(model: &Model, device: DeviceId) -> Option<&'static str> {
    if matches!(device, DeviceId::Amd(_)) {
        return Some("shown only");
    }
    let reading = model.known.devices.iter().find(|d| d.id == device)?;
    match reading.health {
        Health::Lost { .. } => Some("LOST"),
        Health::Asleep => Some("asleep"),
        Health::Ok | Health::Degraded { .. } if reading.mig => Some("MIG"),
        Health::Ok | Health::Degraded { .. } => None,
    }
}

/// Returns the donors of the wish.
#[must_use]
pub fn chosen(state: &State, compute: DeviceId) -> Vec<DeviceId> {
    match state.worked.as_ref().and_then(|w| w.ask.as_ref()) {
        Some(ask) => of_ask(ask, compute),
        None => OffloadAsk { donors: state.donors.clone(), ..OffloadAsk::default() }.donors_of(compute),
    }
}

fn of_ask(ask: &OffloadAsk, compute: DeviceId) -> Vec<DeviceId> {
    match &ask.expert {
        Some(Allocation::Listed(listed)) => listed.devices().into_iter().filter(|d| *d != compute).collect(),
        Some(Allocation::Auto) | None => ask.donors_of(compute),
    }
}

/// Returns the wish with a donor more or less, or why there is none.
pub fn toggled(state: &State, device: DeviceId) -> Result<Wish, &'static str> {
    const NEEDED: &str = "what leaves needs a donor; write none, and nothing leaves";
    let Some(facts) = &state.facts else { return Err("the model is not known yet") };
    let compute = facts.view.compute;
    let ask = state.worked.as_ref().and_then(|w| w.ask.clone());
    if let Some(Allocation::Listed(listed)) = ask.as_ref().and_then(|a| a.expert.as_ref()) {
        let mut list = List::of(listed);
        if listed.devices().contains(&device) {
            list.remove(device);
        } else if list.rest.is_none_or(|rest| rest == compute) {
            list.parts.retain(|(d, _)| *d != device);
            list.rest = Some(device);
            if let (Some(amounts), Some(ask)) = (state.shown().map(|p| facts.amounts(p)), &ask) {
                // What stays is held to what it is now, so that the newcomer gets what is over.
                let half = Bytes(amounts.on(compute).get() / 2);
                list.set(compute, amounts.amount(Way::of(ask), compute, half).ok_or("the compute device has no size")?);
            }
        } else if let (Some(amounts), Some(ask), Some(rest)) = (state.shown().map(|p| facts.amounts(p)), &ask, list.rest) {
            // Half of what the rest was.
            let half = Bytes(amounts.on(rest).get() / 2);
            if let Some(amount) = amounts.amount(Way::of(ask), device, half) {
                list.set(device, amount);
            } else {
                // A device without a size can only take the rest itself.
                list.set(rest, amounts.amount(Way::of(ask), rest, half).ok_or("neither device has a size")?);
                list.rest = Some(device);
            }
        }
        return Ok(Wish { text: list.to_string(), ..state.wish() });
    }
    let mut donors = chosen(state, compute);
    match donors.iter().position(|d| *d == device) {
        Some(at) => drop(donors.remove(at)),
        None => donors.push(device),
    }
    if donors.is_empty() {
        return Err(NEEDED);
    }
    let text = ask.map_or_else(|| state.input.value().to_owned(), |ask| wish::text(&ask));
    Ok(Wish { text, donors, pins: state.pins.clone() })
}

/// Returns the wish with more or less kept where it is computed: a twentieth of the model.
pub fn nudged(state: &State, more_leaves: bool) -> Result<Wish, &'static str> {
    let Some(facts) = &state.facts else { return Err("the model is not known yet") };
    let Some(Worked { ask: Some(ask), outcome, .. }) = &state.worked else { return Err("the wish cannot be read") };
    let compute = facts.view.compute;
    // A wish that does not fit is what these keys mend: from what it asks, not from another plan.
    let here = OffloadPlan { compute, homes: vec![compute; facts.bytes.len()] };
    let plan = outcome.as_ref().map_or(&here, |planned| &planned.plan);
    let amounts = Amounts::of(plan, &facts.bytes, &facts.stored, &facts.view.machine.rooms);
    let total = amounts.total();
    let step = Bytes(total.get() / 20);
    let kept = if outcome.is_ok() { amounts.on(compute) } else { wish::kept(ask, compute, total, amounts.rooms) };
    let keeps = if more_leaves { kept.saturating_sub(step) } else { (kept + step).min(total) };
    let Some(Allocation::Listed(listed)) = &ask.expert else {
        let leaves = (total - keeps).get();
        // What is left of a step is none.
        let leaves = if leaves < step.get() / 2 { Bytes::ZERO } else { Bytes(leaves) };
        return Ok(Wish { text: wish::leaving(leaves, total), ..state.wish() });
    };
    let mut list = List::of(listed);
    let mut needs_rest = list.rest == Some(compute);
    if let (Parts::Percents(parts), None) = (listed.parts(), listed.rest()) {
        needs_rest = true;
        // Shares of their sum would all change with one of them.
        let sum = parts.iter().map(|(_, share)| u128::from(share.get())).sum();
        let tenths = |share: &Decimal| share.share_of(Bytes(1000), sum).get();
        list.parts = parts.iter().map(|(device, share)| (*device, format!("{}.{}%", tenths(share) / 10, tenths(share) % 10))).collect();
    }
    if needs_rest {
        let donor = list.parts.iter().map(|(d, _)| *d).rfind(|d| *d != compute);
        list.rest = Some(donor.or_else(|| ask.donors_of(compute).first().copied()).ok_or("there is no donor")?);
        list.parts.retain(|(d, _)| Some(*d) != list.rest);
    }
    list.set(compute, amounts.amount(Way::of(ask), compute, keeps).ok_or("the compute device has no size")?);
    Ok(Wish { text: list.to_string(), ..state.wish() })
}
