//! Wishes that are wished for often, each with what it comes to on this machine.

use super::State;
use super::donors;
use super::facts::{Facts, work};
use super::state::Wish;
use super::wish;
use crate::placement::expression::exact;
use crate::placement::propose::request;
use crate::placement::sweep::least_resident;
use crate::placement::{OffloadAsk, VirtualVram};
use crate::units::{Bytes, DeviceId};

/// The open list.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The selected row.
    pub cursor: usize,
    /// The rows.
    pub rows: Vec<Preset>,
}

/// A preset.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// What it is for.
    pub name: &'static str,
    /// What it wishes.
    pub wish: Wish,
    /// What leaves and what a step takes then, or why it cannot be.
    pub outcome: Result<(Bytes, f64), String>,
}

/// Returns the presets for a model, for the donors that are chosen.
#[must_use]
pub fn presets(state: &State) -> Vec<Preset> {
    let Some(facts) = &state.facts else { return Vec::new() };
    let donors = donors::chosen(state, facts.view.compute);
    let all = facts.view.network.bytes();
    let wishes = [
        ("nothing leaves", Some(String::new())),
        ("only what has no room leaves", Some(VirtualVram::Auto.to_string())),
        ("the least that fits for sure", facts.smallest.filter(|n| *n > Bytes::ZERO).map(exact)),
        ("about what hides behind computing", hidden(state, facts, &donors).map(|bytes| wish::leaving(bytes, all))),
        ("half of it leaves", Some(wish::leaving(Bytes(all.get() / 2), all))),
        ("all that may leave does", Some(wish::whole(all))),
    ];
    let preset = |(name, text): (&'static str, Option<String>)| {
        let wish = Wish { text: text?, donors: donors.clone(), pins: state.pins.clone() };
        let worked = work(facts, &wish);
        let outcome = match (worked.outcome, worked.barrier) {
            (Err(trouble), _) => Err(trouble.message),
            (Ok(_), Some(refusal)) => Err(refusal.message),
            (Ok(planned), None) => Ok((facts.amounts(&planned).away(), planned.predicted.step_s)),
        };
        Some(Preset { name, wish, outcome })
    };
    wishes.into_iter().filter_map(preset).collect()
}

/// What can leave without a step taking longer: what the links carry while it computes.
fn hidden(state: &State, facts: &Facts, donors: &[DeviceId]) -> Option<Bytes> {
    let all = facts.view.network.bytes();
    let everything =
        OffloadAsk { virtual_vram: VirtualVram::AtLeast(all), donors: donors.to_vec(), pins: state.pins.clone(), expert: None };
    let (request, _) = request(&everything, facts.view.compute, &facts.view.network, &facts.view.machine).ok()?;
    Some(all - least_resident(&request)).filter(|bytes| *bytes > Bytes::ZERO)
}
