//! A list of choices for a field: models, samplers, schedules, precisions, devices.

use tui_input::Input;

use super::Field;
use crate::devices::{DeviceKind, DeviceReading, Labelled, SIMULATED};
use crate::quant::advice::Suggestion;
use crate::quant::precision::Target;
use crate::sampling::{Sampler, Schedule};
use crate::tui::chord::Chord;
use crate::tui::known::Known;
use crate::tui::widgets::{fuzzy, text_field};
use crate::tui::wording;
use crate::workflow::ModelEntry;

/// Folders that hold parts of models, which cannot be run by themselves.
const PARTS: &[&str] =
    &["vae", "clip", "text_encoders", "loras", "embeddings", "clip_vision", "upscale_models", "wildcards", "controlnet", "style_models"];

/// An open list of choices.
#[derive(Debug, Clone, Default)]
pub struct Pick {
    /// What is typed to find one.
    pub input: Input,
    /// The selected row among those found.
    pub cursor: usize,
}

/// A choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is written into the field; nothing is its default.
    pub value: String,
    /// What to know about it.
    pub note: String,
}

impl Pick {
    /// Returns the choices that hold what is typed, the best first.
    #[must_use]
    pub fn found(&self, all: &[Choice]) -> Vec<Choice> {
        let ranked = fuzzy::rank(self.input.value(), all, |c| format!("{} {}", c.value, c.note));
        ranked.into_iter().map(|at| all[at].clone()).collect()
    }

    /// Returns what the selected choice writes; where any text may be written, what is typed if nothing is found.
    #[must_use]
    pub fn taken(&self, all: &[Choice], any_text: bool) -> Option<String> {
        let typed = self.input.value().trim();
        let choice = self.found(all).into_iter().nth(self.cursor).map(|c| c.value);
        choice.or_else(|| (any_text && !typed.is_empty()).then(|| typed.to_owned()))
    }

    /// Types into the line that finds a choice; the best is selected again.
    pub fn press(&mut self, chord: Chord) {
        text_field::press(&mut self.input, chord);
        self.cursor = 0;
    }

    /// Pastes into it.
    pub fn paste(&mut self, text: &str) {
        text_field::paste(&mut self.input, text);
        self.cursor = 0;
    }
}

/// A precision to compute in, or one that the network is converted to.
fn precision(target: &Target) -> Choice {
    let note = if target.to_compute_in().is_some() { "computed in" } else { "converted to, once" };
    Choice { value: target.name(), note: note.to_owned() }
}

/// The precisions that suit a device of the box, in the order in which they are suggested, each with the size of its network.
fn advised(advice: &[Suggestion]) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for suggestion in advice.iter().filter(|s| Target::named(&s.to).is_some()) {
        let device = Labelled(suggestion.device).to_string();
        let room = match (suggestion.fits, suggestion.offload) {
            (true, _) => format!("fits {device}"),
            (false, Some(bytes)) => format!("{device} with {bytes} elsewhere"),
            (false, None) => format!("too large for {device}"),
        };
        match choices.iter_mut().find(|c| c.value == suggestion.to) {
            Some(choice) => choice.note = format!("{}, {room}", choice.note),
            None => choices.push(Choice { value: suggestion.to.clone(), note: format!("{}: {room}", suggestion.bytes) }),
        }
    }
    choices
}

/// Folders in which nothing lies that is converted.
const UNCONVERTED: &[&str] = &["loras", "embeddings", "clip_vision", "upscale_models", "wildcards", "controlnet", "style_models"];

/// Returns the models that can be converted, parts of others among them.
#[must_use]
pub fn models(known: &Known) -> Vec<Choice> {
    known.models.iter().flatten().filter(|m| !UNCONVERTED.contains(&m.folder.as_str())).map(model).collect()
}

/// Returns the choices of a field; none where anything may be written.
#[must_use]
pub fn choices(field: Field, known: &Known) -> Vec<Choice> {
    let named = |names: Vec<&'static str>| {
        let default = Choice { value: String::new(), note: field.placeholder().to_owned() };
        let all = names.into_iter().map(|n| Choice { value: n.to_owned(), note: String::new() });
        std::iter::once(default).chain(all).collect()
    };
    match field {
        Field::Model => known.models.iter().flatten().filter(|m| !PARTS.contains(&m.folder.as_str())).map(model).collect(),
        Field::Sampler => named(Sampler::ALL.iter().map(|s| s.name()).collect()),
        Field::Schedule => named(Schedule::ALL.iter().map(|s| s.name()).collect()),
        Field::Precision => {
            let default = Choice { value: String::new(), note: field.placeholder().to_owned() };
            let advice = known.advice.as_ref().map(|(_, all)| all.as_slice()).unwrap_or_default();
            let advised = advised(advice);
            let others = Target::all().iter().map(precision).filter(|c| !advised.iter().any(|a| a.value == c.value)).collect::<Vec<_>>();
            std::iter::once(default).chain(advised).chain(others).collect()
        }
        Field::Device => {
            let default = Choice { value: String::new(), note: field.placeholder().to_owned() };
            let computes = |d: &&DeviceReading| matches!(d.kind, DeviceKind::Cuda | DeviceKind::Sim | DeviceKind::Cpu);
            std::iter::once(default).chain(known.devices.iter().filter(computes).map(device)).collect()
        }
        Field::Prompt
        | Field::Negative
        | Field::Size
        | Field::Steps
        | Field::Cfg
        | Field::Seed
        | Field::Batch
        | Field::VirtualVram
        | Field::Donors
        | Field::Expert
        | Field::Pins
        | Field::Priority
        | Field::Output
        | Field::InitImage
        | Field::Denoise => Vec::new(),
    }
}

fn model(entry: &ModelEntry) -> Choice {
    let family = match entry.family {
        None => "family unknown".to_owned(),
        Some(family) if family.is_supported() => family.title().to_owned(),
        Some(family) => format!("{}, which this version cannot run", family.title()),
    };
    let size = entry.bytes.to_string();
    let note = match &entry.problem {
        Some(problem) => format!("{size}, {}", wording::clean(problem)),
        None => format!("{family}, {size}"),
    };
    Choice { value: wording::one_line(&entry.name), note }
}

fn device(reading: &DeviceReading) -> Choice {
    let name = reading.name.as_deref().unwrap_or_default();
    let free = reading.memory.map_or_else(String::new, |m| format!("{} GiB free", wording::gib(m.free)));
    let simulated = if reading.simulated { SIMULATED.to_owned() } else { String::new() };
    let note = [simulated, wording::clean(name), free].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", ");
    Choice { value: reading.id.to_string(), note }
}
