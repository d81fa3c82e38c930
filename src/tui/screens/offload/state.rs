//! What is tuned, what is wished, and what that comes to.

use tui_input::Input;

use super::facts::{Facts, Worked, work};
use super::presets;
use super::wish::{self, Way};
use crate::placement::{OffloadAsk, Pins, Planned};
use crate::tui::known::Known;
use crate::units::{BlockIndex, DeviceId, JobId};
use crate::wire::TuneView;
use crate::workflow::{JobDraft, Refusal};

/// Wishes that `u` can go back to.
const REMEMBERED: usize = 100;

/// Whose weights are placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Subject {
    /// The model of the Run form.
    #[default]
    Form,
    /// A job's.
    Job(JobId),
}

/// A part of the screen that keys act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    /// What is wished, as text.
    #[default]
    Expression,
    /// Who may hold weights.
    Donors,
    /// The blocks.
    Blocks,
}

impl Pane {
    /// Every part, in the order of tab.
    pub const ALL: &[Self] = &[Self::Expression, Self::Donors, Self::Blocks];

    /// Returns the part so many places further, around the ends.
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let all = Self::ALL;
        let at = all.iter().position(|p| *p == self).unwrap_or(0).cast_signed();
        all[(at + by).rem_euclid(all.len().cast_signed()).cast_unsigned()]
    }
}

/// What letters are typed into.
#[derive(Debug, Clone)]
pub enum Typing {
    /// The wish; it was this before.
    Expression(Wish),
    /// The number of a block to go to.
    Block(Input),
    /// The name of a profile to save.
    Profile(Input),
    /// How much is to stay free where it is computed.
    Floor(Input),
}

/// What is wished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// How much goes where.
    pub text: String,
    /// Who takes what leaves, where the text names nobody.
    pub donors: Vec<DeviceId>,
    /// Blocks that must live on a certain device.
    pub pins: Pins,
}

/// The tuner.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Whose weights are placed.
    pub subject: Subject,
    /// The job they are for; what it asks to be offloaded is what was last taken from it or given to it.
    pub draft: JobDraft,
    /// What the daemon has told.
    pub facts: Option<Facts>,
    /// Why it has told nothing.
    pub refusal: Option<Refusal>,
    /// How much goes where.
    pub input: Input,
    /// Who takes what leaves, where the text names nobody.
    pub donors: Vec<DeviceId>,
    /// Blocks that must live on a certain device.
    pub pins: Pins,
    /// The part that keys act on.
    pub pane: Pane,
    /// The block at hand.
    pub block: usize,
    /// The donor at hand, by its place in the row.
    pub donor: usize,
    /// What letters are typed into, if they are.
    pub typing: Option<Typing>,
    /// The open list of presets.
    pub presets: Option<presets::Open>,
    /// What the wish comes to.
    pub worked: Option<Worked>,
    /// The last plan that there was, for while the wish makes none.
    pub last: Option<Planned>,
    /// The job that tried a wish last.
    pub trial: Option<JobId>,
    before: Vec<Wish>,
}

impl State {
    /// Returns what is wished.
    #[must_use]
    pub fn wish(&self) -> Wish {
        Wish { text: self.input.value().to_owned(), donors: self.donors.clone(), pins: self.pins.clone() }
    }

    /// Turns to a job, or to another one. A wish is kept where the job asks for the same as before.
    pub fn turn_to(&mut self, subject: Subject, draft: JobDraft) {
        let same_job = self.subject == subject && !self.draft.model.is_empty();
        if !(same_job && draft.offload == self.draft.offload) {
            let OffloadAsk { donors, pins, .. } = draft.offload.clone();
            let wish = Wish { text: wish::text(&draft.offload), donors, pins };
            self.wish_for(wish);
        }
        if !same_job {
            // What was wished for another job is nothing to go back to.
            self.before.clear();
        }
        if !is_same_network(&draft, &self.draft) {
            (self.facts, self.worked, self.last, self.trial) = (None, None, None, None);
        }
        (self.subject, self.draft, self.presets, self.typing) = (subject, draft, None, None);
        self.rework();
    }

    /// Takes in what the daemon has told.
    pub fn told(&mut self, view: TuneView) {
        self.refusal = None;
        self.facts = Some(Facts::of(view));
        let blocks = self.blocks();
        self.block = self.block.min(blocks.saturating_sub(1));
        self.rework();
    }

    /// Returns the block at hand.
    #[must_use]
    pub fn at_hand(&self) -> BlockIndex {
        BlockIndex(u32::try_from(self.block).unwrap_or(u32::MAX))
    }

    /// Returns how many blocks there are.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.facts.as_ref().map_or(0, |f| f.view.blocks.len())
    }

    /// Works the wish out anew.
    pub fn rework(&mut self) {
        self.worked = self.facts.as_ref().map(|facts| work(facts, &self.wish()));
        if let Some(Worked { outcome: Ok(planned), .. }) = &self.worked {
            self.last = Some(planned.clone());
        }
    }

    /// Wishes for something else; `u` brings back what was wished for before.
    pub fn wish_for(&mut self, wish: Wish) {
        let old = self.wish();
        if old == wish {
            return;
        }
        self.remember(old);
        self.put(wish);
    }

    /// Notes what `u` is to go back to.
    pub fn remember(&mut self, wish: Wish) {
        if self.before.last() == Some(&wish) {
            return;
        }
        if self.before.len() == REMEMBERED {
            self.before.remove(0);
        }
        self.before.push(wish);
    }

    /// Puts a wish in the place of what is there.
    pub fn put(&mut self, wish: Wish) {
        self.input = Input::new(wish.text);
        (self.donors, self.pins) = (wish.donors, wish.pins);
        self.rework();
    }

    /// Goes back to what was wished for before.
    pub fn undo(&mut self) {
        if let Some(wish) = self.before.pop() {
            self.put(wish);
        }
    }

    /// Returns whether there is anything to go back to.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        !self.before.is_empty()
    }

    /// Returns the plan on the screen: that of the wish, or the last there was.
    #[must_use]
    pub fn shown(&self) -> Option<&Planned> {
        self.last.as_ref()
    }

    /// Returns the plan of the wish, if it makes one.
    #[must_use]
    pub fn planned(&self) -> Option<&Planned> {
        self.worked.as_ref()?.outcome.as_ref().ok()
    }

    /// Returns the way in which the wish is written; the first where it cannot be read.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        self.worked.as_ref().and_then(|w| w.ask.as_ref()).map(Way::of)
    }

    /// Returns whether the wish is what its job or the form asks for already.
    #[must_use]
    pub fn is_applied(&self, known: &Known) -> bool {
        let asked = match self.subject {
            Subject::Job(job) => known.job(job).map_or(&self.draft.offload, |job| &job.spec.offload),
            Subject::Form => &self.draft.offload,
        };
        self.worked.as_ref().and_then(|w| w.ask.as_ref()) == Some(asked)
    }
}

/// Whether two jobs have the same weights and the same work for them.
fn is_same_network(a: &JobDraft, b: &JobDraft) -> bool {
    let network = |d: &JobDraft| (d.model.clone(), d.precision.clone(), d.compute_device, d.size, d.batch, d.init_image.clone());
    (network(a), a.cfg, a.sampler, a.passes) == (network(b), b.cfg, b.sampler, b.passes)
}
