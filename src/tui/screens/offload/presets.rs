//! Wishes that are wished for often, each with what it comes to on this machine.

use super::State;
use super::donors;
use super::facts::{Facts, work};
use super::state::Wish;
use super::wish;
use crate::placement::expression::exact;
use crate::placement::propose::request;
use crate::placement::sweep::least_resident;
use crate::placement::{OffloadAsk, Part, VirtualVram};
use crate::profile::Preset as Profile;
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
    pub name: String,
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
    let preset = |(name, text): (&str, Option<String>)| {
        let wish = Wish { text: text?, donors: donors.clone(), pins: state.pins.clone() };
        Some(Preset::of(facts, name.to_owned(), wish))
    };
    wishes.into_iter().filter_map(preset).collect()
}

/// Offers saved profiles that say where the weights of a network live, where the list is open.
pub fn offer(state: &mut State, profiles: Vec<(String, Profile)>) {
    let (Some(facts), Some(open)) = (&state.facts, &mut state.presets) else { return };
    for (name, profile) in profiles {
        let ask = profile.asks().take(Part::Denoiser);
        let is_here = profile.computes_on().is_none_or(|device| device == facts.view.compute);
        if is_here && !ask.is_nothing() {
            let wish = Wish { text: wish::text(&ask), donors: ask.donors, pins: ask.pins };
            open.rows.push(Preset::of(facts, format!("profile {name}"), wish));
        }
    }
}

impl Preset {
    fn of(facts: &Facts, name: String, wish: Wish) -> Self {
        let worked = work(facts, &wish);
        let outcome = match (worked.outcome, worked.barrier) {
            (Err(trouble), _) => Err(trouble.message),
            (Ok(_), Some(refusal)) => Err(refusal.message),
            (Ok(planned), None) => Ok((facts.amounts(&planned).away(), planned.predicted.step_s)),
        };
        Self { name, wish, outcome }
    }
}

/// What can leave without a step taking longer: what the links carry while it computes.
fn hidden(state: &State, facts: &Facts, donors: &[DeviceId]) -> Option<Bytes> {
    let all = facts.view.network.bytes();
    let everything =
        OffloadAsk { virtual_vram: VirtualVram::AtLeast(all), donors: donors.to_vec(), pins: state.pins.clone(), expert: None };
    let (request, _) = request(&everything, facts.view.compute, &facts.view.network, &facts.view.machine).ok()?;
    Some(all - least_resident(&request)).filter(|bytes| *bytes > Bytes::ZERO)
}
