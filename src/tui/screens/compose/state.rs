//! What is written in the form.

use tui_input::Input;

use super::Field;
use super::estimate::Estimate;
use super::pick::Pick;
use super::profiles::Choosing;
use crate::placement::OffloadAsk;
use crate::units::JobId;
use crate::workflow::{JobDraft, Kind, Refusal};

/// What keys do.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    /// They move.
    #[default]
    Moving,
    /// They are typed into the field.
    Typing,
    /// They choose.
    Picking(Pick),
    /// They choose a profile, or name one.
    Profiles(Choosing),
}

/// What is written in the form.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What keys do.
    pub mode: Mode,
    /// The field that they do it to.
    at: usize,
    texts: [Input; Field::ALL.len()],
    /// What the form does not show but a duplicated job had: overrides, tiling, prediction.
    rest: JobDraft,
    /// The waiting job that a submission takes the place of.
    pub replaces: Option<JobId>,
    /// What the daemon said to the last submission.
    pub refusal: Option<Refusal>,
    /// Whether something was written that was not submitted.
    pub unsent: bool,
    /// What the job would take, as far as it was asked.
    pub estimate: Option<Estimate>,
}

/// A field and what is wrong with it.
pub type Problem = (Field, Refusal);

impl State {
    /// Returns the field that keys act on.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::ALL[self.at]
    }

    /// Goes so many fields further, around the ends.
    pub fn step(&mut self, by: isize) {
        let count = Field::ALL.len().cast_signed();
        self.at = (self.at.cast_signed() + by).rem_euclid(count).cast_unsigned();
    }

    /// Goes so many fields further, not beyond the ends.
    pub fn walk(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(Field::ALL.len() - 1);
    }

    /// Returns what is written in a field.
    #[must_use]
    pub fn text(&self, field: Field) -> &Input {
        &self.texts[field as usize]
    }

    /// Lets somebody write into the field that keys act on.
    pub fn edit(&mut self, write: impl FnOnce(&mut Input)) {
        let text = &mut self.texts[self.at];
        let before = text.value().to_owned();
        write(text);
        if text.value() != before {
            self.unsent = true;
            self.refusal = None;
        }
    }

    /// Writes a field.
    pub fn put(&mut self, field: Field, text: String) {
        self.texts[field as usize] = Input::new(text);
        self.unsent = true;
        self.refusal = None;
    }

    /// Returns what the form asks for, and every field that cannot be read.
    #[must_use]
    pub fn draft(&self) -> (JobDraft, Vec<Problem>) {
        let mut draft = self.rest.clone();
        let mut problems: Vec<Problem> = Vec::new();
        for field in Field::ALL {
            if let Err(refusal) = field.write(self.text(*field).value(), &mut draft) {
                problems.push((*field, refusal));
            }
        }
        if draft.denoise.is_some() && draft.init_image.is_none() {
            let refusal = Refusal::new(Kind::Usage, "needs a picture to start from", "give an init image, or leave this empty");
            problems.push((Field::Denoise, refusal));
        }
        (draft, problems)
    }

    /// Returns what keeps the form from being submitted besides fields that cannot be read.
    #[must_use]
    pub fn missing(&self) -> Option<Problem> {
        let empty = |field: Field| self.text(field).value().trim().is_empty();
        if empty(Field::Model) {
            return Some((Field::Model, Refusal::new(Kind::Usage, "none is chosen", "choose one, or type the path of a file")));
        }
        empty(Field::Prompt).then(|| (Field::Prompt, Refusal::new(Kind::Usage, "is empty", "say what the picture shows")))
    }

    /// Fills the form.
    pub fn fill(&mut self, draft: &JobDraft, replaces: Option<JobId>) {
        *self =
            Self { rest: JobDraft { held: false, ..draft.clone() }, replaces, at: Field::Prompt as usize, unsent: true, ..Self::default() };
        for field in Field::ALL {
            self.texts[*field as usize] = Input::new(field.read(draft));
        }
    }

    /// Asks for this to be offloaded.
    pub fn take_offload(&mut self, ask: &OffloadAsk) {
        // What is said of other parts stays.
        let (written, _) = self.draft();
        let draft = JobDraft { offload: ask.clone(), ..written };
        for field in [Field::VirtualVram, Field::Donors, Field::Expert, Field::Pins] {
            self.texts[field as usize] = Input::new(field.read(&draft));
        }
        self.unsent = true;
        self.refusal = None;
    }

    /// Goes to the field.
    pub fn go_to(&mut self, field: Field) {
        self.at = field as usize;
    }

    /// Notes that the form was submitted. It stays filled: the next picture often differs in a word.
    pub fn submitted(&mut self) {
        self.unsent = false;
        self.replaces = None;
        self.refusal = None;
        self.mode = Mode::Moving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_back_the_draft_it_was_filled_with() {
        let draft = JobDraft {
            model: "night".to_owned(),
            prompt: "a hill".to_owned(),
            vae: Some("v".to_owned()),
            steps: Some(4),
            ..JobDraft::default()
        };
        let mut state = State::default();
        state.fill(&draft, Some(JobId(3)));
        assert_eq!(state.draft(), (draft, Vec::new()));
        assert_eq!((state.field(), state.replaces), (Field::Prompt, Some(JobId(3))));
    }

    #[test]
    fn names_what_is_missing_before_the_daemon_must() {
        let mut state = State::default();
        assert_eq!(state.missing().map(|(f, _)| f), Some(Field::Model));
        state.edit(|t| *t = Input::new("night".to_owned()));
        assert_eq!(state.missing().map(|(f, _)| f), Some(Field::Prompt));
        state.go_to(Field::Denoise);
        state.edit(|t| *t = Input::new("0.5".to_owned()));
        let (_, problems) = state.draft();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].1.message, "needs a picture to start from");
        assert!(state.unsent);
    }

    #[test]
    fn fields_wrap_around_for_tab_and_not_for_j() {
        let mut state = State::default();
        state.walk(-1);
        assert_eq!(state.field(), Field::Model);
        state.step(-1);
        assert_eq!(state.field(), Field::Denoise);
        state.walk(5);
        assert_eq!(state.field(), Field::Denoise);
    }
}
