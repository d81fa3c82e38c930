//! What is known of a model and its machine, and what a wish comes to there. Pure: this runs at every key.

use crate::placement::ask::VirtualVram;
use crate::placement::propose::{expect, smallest};
use crate::placement::{AllocationError, OffloadAsk, Planned, ProposalError, advice, propose};
use crate::units::Bytes;
use crate::wire::TuneView;
use crate::workflow::{JobDraft, Kind, Refusal, check_ranges};

use super::state::Wish;
use super::wish::{self, Amounts};

/// How often more is let go until what is to stay free does: staging memory changes with it.
const FLOOR_TRIES: u32 = 8;

/// What is known, with the plans that every wish is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What the daemon has told.
    pub view: TuneView,
    /// The size of each block where it is computed with.
    pub bytes: Vec<Bytes>,
    /// The size of each block as it is stored, and as donors hold it.
    pub stored: Vec<Bytes>,
    /// What to expect of the plan that an engine holds now.
    pub active: Option<Planned>,
    /// Everything stays where it is computed.
    pub here: Result<Planned, ProposalError>,
    /// Everything that may leave it does.
    pub away: Result<Planned, ProposalError>,
    /// The least virtual VRAM with which the model fits now; `None` where none is enough.
    pub smallest: Option<Bytes>,
}

impl Facts {
    /// Takes in what the daemon has told.
    #[must_use]
    pub fn of(view: TuneView) -> Self {
        let plan = |ask: &OffloadAsk| propose(ask, view.compute, &view.network, &view.machine);
        let nothing = OffloadAsk::default();
        let all = OffloadAsk { virtual_vram: VirtualVram::AtLeast(view.network.bytes()), ..OffloadAsk::default() };
        Self {
            bytes: view.network.units.iter().map(|u| u.bytes).collect(),
            stored: view.network.units.iter().map(|u| u.stored).collect(),
            active: view.active.as_ref().map(|placed| expect(&placed.plan, &view.network, &view.machine, placed.staging)),
            here: plan(&nothing),
            away: plan(&all),
            // Why there is none is told by the plans that fail.
            smallest: smallest(&nothing, view.compute, &view.network, &view.machine).ok(),
            view,
        }
    }

    /// Returns the plan that a wish is compared with: what an engine holds, or else everything in its place.
    #[must_use]
    pub fn before(&self) -> Option<&Planned> {
        self.active.as_ref().or(self.here.as_ref().ok())
    }

    /// Returns where a wish would put the blocks.
    pub fn plan(&self, ask: &OffloadAsk) -> Result<Planned, ProposalError> {
        propose(ask, self.view.compute, &self.view.network, &self.view.machine)
    }

    /// Returns the least virtual VRAM with which so much stays free where it is computed.
    pub fn leaving_free(&self, ask: &OffloadAsk, floor: Bytes) -> Result<Bytes, ProposalError> {
        let mut machine = self.view.machine.clone();
        for room in machine.rooms.iter_mut().filter(|room| room.device == self.view.compute) {
            room.reserve = floor;
        }
        let mut least = smallest(ask, self.view.compute, &self.view.network, &machine)?;
        let device = self.view.compute;
        let free = machine.rooms.iter().find(|room| room.device == device).map_or(Bytes::ZERO, |room| room.free);
        let mut tries = 0..FLOOR_TRIES;
        loop {
            // A plan may take more to pass through than it must, where a step is faster for it.
            let planned = self.plan(&OffloadAsk { virtual_vram: VirtualVram::AtLeast(least), ..ask.clone() })?;
            let needed = self.amounts(&planned).on(device) + planned.staging;
            let over = (needed + floor).saturating_sub(free);
            if over == Bytes::ZERO {
                return Ok(least);
            }
            if tries.next().is_none() {
                return Err(ProposalError::Crowded { device, needed, staging: planned.staging, capacity: free.saturating_sub(floor) });
            }
            least += over;
        }
    }

    /// Returns what a plan gives each device.
    #[must_use]
    pub fn amounts(&self, planned: &Planned) -> Amounts<'_> {
        Amounts::of(&planned.plan, &self.bytes, &self.stored, &self.view.machine.rooms)
    }
}

/// What is wrong with a wish, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The column from 0, if one place is to blame.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What a wish comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Worked {
    /// What is asked, where the text can be read.
    pub ask: Option<OffloadAsk>,
    /// Where the blocks go, or why nowhere.
    pub outcome: Result<Planned, Trouble>,
    /// Why this version cannot do what can be planned.
    pub barrier: Option<Refusal>,
    /// What should be known.
    pub warnings: Vec<String>,
}

impl Worked {
    /// Returns the ask, if it can be carried out, or why it cannot.
    pub fn ready(&self) -> Result<&OffloadAsk, String> {
        match (&self.outcome, &self.barrier, &self.ask) {
            (Err(trouble), ..) => Err(trouble.message.clone()),
            (Ok(_), Some(refusal), _) => Err(refusal.message.clone()),
            (Ok(_), None, Some(ask)) => Ok(ask),
            (Ok(_), None, None) => Err("the wish cannot be read".to_owned()),
        }
    }
}

/// Works out what a wish comes to.
#[must_use]
pub fn work(facts: &Facts, wish: &Wish) -> Worked {
    let view = &facts.view;
    let text = wish.text.as_str();
    let ask = match wish::read(text, view.compute, &wish.donors) {
        Ok(ask) => OffloadAsk { pins: wish.pins.clone(), ..ask },
        Err(error) => return Worked { ask: None, outcome: Err(unreadable(&error)), barrier: None, warnings: Vec::new() },
    };
    let outcome = facts.plan(&ask).map_err(|error| impossible(facts, &error, text));
    let warnings = outcome.as_ref().map(|planned| advice::warnings(planned, &ask, &view.network, &view.machine)).unwrap_or_default();
    let asked = JobDraft { offload: ask.clone(), compute_device: Some(view.compute), ..JobDraft::default() };
    // What contradicts itself is told by the plan already.
    let barrier = check_ranges(&asked).err().filter(|refusal| outcome.is_ok() || refusal.kind == Kind::Refused);
    Worked { ask: Some(ask), outcome, barrier, warnings }
}

fn unreadable(error: &AllocationError) -> Trouble {
    Trouble { column: Some(error.column.saturating_sub(1)), message: error.problem.to_string(), hint: error.hint.to_owned() }
}

/// Points at the device that is to blame, where the text names it.
fn impossible(facts: &Facts, error: &ProposalError, text: &str) -> Trouble {
    let device = match error {
        ProposalError::Budget(error) => error.device(),
        ProposalError::Shortage(shortage) => Some(shortage.device()),
        ProposalError::Crowded { device, .. } => Some(*device),
    };
    let column = device.and_then(|device| named_at(text, &device.to_string()));
    let least =
        facts.smallest.filter(|bytes| *bytes > Bytes::ZERO).map(|bytes| format!("; the least virtual VRAM that fits now is {bytes}"));
    Trouble { column, message: error.to_string(), hint: format!("{}{}", error.hint(), least.unwrap_or_default()) }
}

/// The column at which a device is named in a text: `cuda:1` is not in `cuda:10`.
fn named_at(text: &str, device: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let ends = |at: usize| !lower[at + device.len()..].starts_with(|c: char| c.is_ascii_digit());
    let (at, _) = lower.match_indices(device).find(|(at, _)| ends(*at))?;
    Some(lower[..at].chars().count())
}
