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
    /// Fields from which much was taken at once, as they were before, the last behind.
    taken_out: Vec<(Field, Input)>,
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
        let before = text.clone();
        write(text);
        if text.value() != before.value() {
            if takes_much(before.value(), text.value()) {
                self.taken_out.push((Field::ALL[self.at], before));
            }
            self.unsent = true;
            self.refusal = None;
        }
    }

    /// Returns whether something was taken out of a field that can be brought back.
    #[must_use]
    pub fn can_restore(&self) -> bool {
        !self.taken_out.is_empty()
    }

    /// Brings back what was last taken out of a field. What was written there since can be brought back in turn.
    pub fn restore(&mut self) {
        let Some((field, before)) = self.taken_out.pop() else { return };
        self.go_to(field);
        let since = std::mem::replace(&mut self.texts[field as usize], before);
        if !since.value().is_empty() && !self.text(field).value().contains(since.value()) {
            self.taken_out.push((field, since));
        }
        self.unsent = true;
        self.refusal = None;
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

/// Whether more than a letter was taken from a text at once, and nothing was put in its place.
fn takes_much(before: &str, after: &str) -> bool {
    let left = after.is_empty() || before.starts_with(after) || before.ends_with(after);
    left && before.chars().count() > after.chars().count() + 1
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
    fn what_was_taken_out_of_a_field_comes_back() {
        let mut state = State::default();
        let field = |state: &State, field| state.text(field).value().to_owned();
        state.put(Field::Prompt, "a lighthouse at dusk".to_owned());
        state.put(Field::Output, "/home/ana".to_owned());
        for at in [Field::Prompt, Field::Output] {
            state.go_to(at);
            state.edit(Input::reset);
        }
        state.restore();
        assert_eq!((field(&state, Field::Output), state.field()), ("/home/ana".to_owned(), Field::Output));
        state.restore();
        assert_eq!((field(&state, Field::Prompt), state.can_restore()), ("a lighthouse at dusk".to_owned(), false));
        // What was written in its place is not lost for it.
        state.edit(Input::reset);
        state.edit(|text| *text = Input::new("fog".to_owned()));
        state.restore();
        assert_eq!(field(&state, Field::Prompt), "a lighthouse at dusk");
        state.restore();
        assert_eq!(field(&state, Field::Prompt), "fog");
    }

    #[test]
    fn single_letters_and_other_words_are_nothing_to_bring_back() {
        let changes = [("fog", "fo"), ("fog", "mist"), ("", "fog"), ("euler", "heun"), ("f", "")];
        assert!(changes.iter().all(|(before, after)| !takes_much(before, after)));
        let changes = [("a hill", ""), ("a hill", "a "), ("a hill", "hill")];
        assert!(changes.iter().all(|(before, after)| takes_much(before, after)));
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
