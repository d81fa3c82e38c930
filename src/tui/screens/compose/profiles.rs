//! Profiles in the form: one is taken into it, or made of it.

use std::fmt::Display;

use super::pick::{Choice, Pick};
use super::{Field, Mode};
use crate::config::presets::Existing;
use crate::placement::{Expert, VirtualVram};
use crate::profile::{EMBEDDED, PartPreset, Preset};
use crate::theme::Role;
use crate::tui::effect::Effect;
use crate::tui::model::Model;
use crate::tui::screens::offload::deeds::{SaveOrder, is_name};
use crate::workflow::JobDraft;

/// What becomes of the profile that is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is taken into the form.
    Taken,
    /// The form is saved as it.
    Saved,
}

/// The open list of profiles.
#[derive(Debug, Clone)]
pub struct Choosing {
    /// What is typed, and where the operator is among what was found.
    pub pick: Pick,
    /// What becomes of it.
    pub way: Way,
    /// The operator's own, once they were read.
    own: Vec<(String, Preset)>,
}

/// Opens the list of profiles.
pub fn open(model: &mut Model, way: Way) -> Vec<Effect> {
    if way == Way::Saved && !model.compose.draft().1.is_empty() {
        model.toast(Role::Warn, "not saved: a field cannot be read yet");
        return Vec::new();
    }
    model.compose.mode = Mode::Profiles(Choosing { pick: Pick::default(), way, own: Vec::new() });
    vec![Effect::Profiles]
}

/// The operator's own profiles were read.
pub fn told(model: &mut Model, profiles: &[(String, Preset)]) {
    if let Mode::Profiles(choosing) = &mut model.compose.mode {
        choosing.own = profiles.to_vec();
    }
}

impl Choosing {
    /// Returns the choices: to save as, the operator's own, each of which would be replaced; to take, those that ship, too.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let choice = |name: &str, preset: &Preset| Choice { value: name.to_owned(), note: words(preset) };
        let own = self.own.iter().map(|(name, preset)| choice(name, preset));
        let is_own = |name: &str| self.own.iter().any(|(own, _)| own == name);
        let shipped = EMBEDDED.iter().filter(|(name, _)| self.way == Way::Taken && !is_own(name));
        let shipped = shipped.filter_map(|(name, _)| Some(choice(name, &Preset::embedded(name)?.ok()?)));
        own.chain(shipped).collect()
    }

    fn preset(&self, name: &str) -> Option<Preset> {
        let own = self.own.iter().find(|(own, _)| own == name).map(|(_, preset)| preset.clone());
        own.or_else(|| Preset::embedded(name)?.ok())
    }
}

/// What a profile says of a run, in a few words.
fn words(preset: &Preset) -> String {
    fn word(name: &str, value: Option<impl Display>) -> Option<String> {
        value.map(|v| format!("{name}{v}"))
    }
    let said = [
        word("steps ", preset.steps),
        word("", preset.size),
        word("cfg ", preset.cfg),
        word("", preset.sampler),
        word("", preset.precision.as_ref()),
        word("", preset.compute_device),
        word("offload ", preset.virtual_vram_gb),
        word("", preset.expert_mode_allocations.as_ref()),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { "says nothing of a run".to_owned() } else { said.join(", ") }
}

/// Takes the selected profile, or saves the form as what is chosen or typed.
pub fn choose(model: &mut Model) -> Vec<Effect> {
    let Mode::Profiles(choosing) = &model.compose.mode else { return Vec::new() };
    let (choices, way) = (choosing.choices(), choosing.way);
    // What is typed names a new profile; one that is there is replaced only where it is selected by its name.
    let typed = choosing.pick.input.value().trim().to_owned();
    let name = match way {
        Way::Saved if !typed.is_empty() => Some(typed),
        Way::Taken | Way::Saved => choosing.pick.taken(&choices, false),
    };
    let preset = name.as_deref().and_then(|name| choosing.preset(name));
    // What cannot be taken stays to be mended.
    let problem = match (way, &name) {
        (Way::Saved, Some(name)) if !is_name(name) => Some(format!("`{name}` is no name of a profile: it is one file's, without a folder")),
        (Way::Taken, None) => Some("no profile is called so".to_owned()),
        (Way::Saved | Way::Taken, _) => None,
    };
    if let Some(problem) = problem {
        model.toast(Role::Warn, problem);
        return Vec::new();
    }
    model.compose.mode = Mode::Moving;
    match (way, name, preset) {
        (Way::Taken, Some(name), Some(preset)) => {
            take(model, &preset);
            model.toast(Role::Ok, format!("profile {name} is in the form"));
            Vec::new()
        }
        (Way::Saved, Some(name), _) => save(model, name),
        (Way::Taken | Way::Saved, ..) => Vec::new(),
    }
}

/// Writes what a profile says into the form; what it does not say stays.
fn take(model: &mut Model, preset: &Preset) {
    let (written, _) = model.compose.draft();
    let mut asks = preset.asks();
    let network = asks.take(crate::placement::Part::Denoiser);
    let before = written.clone();
    let after = JobDraft {
        steps: preset.steps.or(written.steps),
        cfg: preset.cfg.or(written.cfg),
        sampler: preset.sampler.or(written.sampler),
        schedule: preset.schedule.or(written.schedule),
        size: preset.size.or(written.size),
        precision: preset.precision.clone().or(written.precision.clone()),
        compute_device: preset.computes_on().or(written.compute_device),
        priority: preset.priority.or(written.priority),
        output: preset.output.clone().or(written.output.clone()),
        offload: if network.is_nothing() { written.offload.clone() } else { network },
        parts: if preset.parts.is_empty() { written.parts.clone() } else { asks },
        ..written
    };
    let changed = Field::ALL.iter().filter(|field| field.read(&before) != field.read(&after));
    for field in changed.copied().collect::<Vec<_>>() {
        model.compose.put(field, field.read(&after));
    }
}

fn save(model: &mut Model, name: String) -> Vec<Effect> {
    let (draft, _) = model.compose.draft();
    let ask = draft.offload;
    let preset = Preset {
        steps: draft.steps,
        cfg: draft.cfg,
        sampler: draft.sampler,
        schedule: draft.schedule,
        size: draft.size,
        precision: draft.precision,
        compute_device: draft.compute_device,
        virtual_vram_gb: Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None),
        donor_device: ask.donors,
        expert_mode_allocations: ask.expert.map(Expert::Alone),
        pin_blocks: Some(ask.pins).filter(|p| !p.is_empty()),
        parts: draft.parts.iter().map(|(part, ask)| (part, PartPreset::of(ask.clone()))).collect(),
        output: draft.output,
        priority: draft.priority,
        ..Preset::default()
    };
    if preset == Preset::default() {
        model.toast(Role::Warn, "not saved: the form says nothing that a profile holds");
        return Vec::new();
    }
    vec![Effect::Save(Box::new(SaveOrder { name, preset, existing: Existing::Kept }))]
}
