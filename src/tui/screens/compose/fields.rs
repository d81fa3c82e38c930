//! The fields of the form: their names, what may be written into them, and what is wrong with it.
//!
//! Every field is text. It is read by the same types that read the command line's flags.

use std::fmt::Display;
use std::str::FromStr;

use super::places;
use crate::placement::AllocationError;
use crate::quant::precision::Target;
use crate::sampling::{Sampler, Schedule};
use crate::units::{DeviceId, Seed, Size};
use crate::workflow::{JobDraft, Kind, Refusal, check_ranges};

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The model.
    Model,
    /// What the picture shows.
    Prompt,
    /// What it must not show.
    Negative,
    /// Its size.
    Size,
    /// Solver steps.
    Steps,
    /// Guidance scale.
    Cfg,
    /// Solver.
    Sampler,
    /// Noise schedule.
    Schedule,
    /// Seed of the first image.
    Seed,
    /// Images made together.
    Batch,
    /// What to compute in.
    Precision,
    /// The device that computes.
    Device,
    /// How much of the network's weights leaves it.
    VirtualVram,
    /// Who takes them.
    Donors,
    /// How much goes where, instead of the two above.
    Expert,
    /// Blocks that must live on a certain device.
    Pins,
    /// Its place in the queue.
    Priority,
    /// Folder for the images.
    Output,
    /// A picture to start from.
    InitImage,
    /// How much of it is made anew.
    Denoise,
}

impl Field {
    /// Every field, from top to bottom.
    pub const ALL: &[Self] = &[
        Self::Model,
        Self::Prompt,
        Self::Negative,
        Self::Size,
        Self::Steps,
        Self::Cfg,
        Self::Sampler,
        Self::Schedule,
        Self::Seed,
        Self::Batch,
        Self::Precision,
        Self::Device,
        Self::VirtualVram,
        Self::Donors,
        Self::Expert,
        Self::Pins,
        Self::Priority,
        Self::Output,
        Self::InitImage,
        Self::Denoise,
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Prompt => "prompt",
            Self::Negative => "negative",
            Self::Size => "size",
            Self::Steps => "steps",
            Self::Cfg => "cfg",
            Self::Sampler => "sampler",
            Self::Schedule => "schedule",
            Self::Seed => "seed",
            Self::Batch => "batch",
            Self::Precision => "precision",
            Self::Device => "device",
            Self::VirtualVram => "offload",
            Self::Donors => "donors",
            Self::Expert => "expert",
            Self::Pins => "pins",
            Self::Priority => "priority",
            Self::Output => "output",
            Self::InitImage => "init image",
            Self::Denoise => "denoise",
        }
    }

    /// Returns what holds when nothing is written.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Model => "choose a model",
            Self::Prompt => "what the picture shows",
            Self::Negative => "what it must not show",
            Self::Size => "the model's own",
            Self::Seed => "random",
            Self::Batch => "1",
            Self::Precision => "the device's own",
            Self::VirtualVram => "nothing leaves the device",
            Self::Donors => "cpu, or disk where cpu computes",
            Self::Expert => "instead: cpu,800MiB;disk,*",
            Self::Pins => "blocks live where there is room",
            Self::Priority => "0",
            Self::InitImage => "none",
            Self::Denoise => "0.75 with an init image",
            Self::Steps | Self::Cfg | Self::Sampler | Self::Schedule | Self::Device | Self::Output => "default",
        }
    }

    /// Returns whether its values come from a list.
    #[must_use]
    pub fn has_choices(self) -> bool {
        matches!(self, Self::Model | Self::Sampler | Self::Schedule | Self::Precision | Self::Device)
    }

    /// Writes this field of a draft as text.
    #[must_use]
    pub fn read(self, draft: &JobDraft) -> String {
        fn text(value: Option<impl Display>) -> String {
            value.map(|v| v.to_string()).unwrap_or_default()
        }
        match self {
            Self::Model => draft.model.clone(),
            Self::Prompt => draft.prompt.clone(),
            Self::Negative => draft.negative.clone(),
            Self::Size => text(draft.size),
            Self::Steps => text(draft.steps),
            Self::Cfg => text(draft.cfg),
            Self::Sampler => text(draft.sampler),
            Self::Schedule => text(draft.schedule),
            Self::Seed => text(draft.seed),
            Self::Batch => text(draft.batch),
            Self::Precision => text(draft.precision.as_ref()),
            Self::Device => text(draft.compute_device),
            Self::VirtualVram => places::virtual_vram(draft),
            Self::Donors => places::donors(draft),
            Self::Expert => places::expert(draft),
            Self::Pins => places::pins(draft),
            Self::Priority => text(draft.priority),
            Self::Output => text(draft.output.as_ref().map(|p| p.display())),
            Self::InitImage => text(draft.init_image.as_ref().map(|p| p.display())),
            Self::Denoise => text(draft.denoise),
        }
    }

    /// Reads text into this field of a draft, and checks it.
    pub fn write(self, text: &str, draft: &mut JobDraft) -> Result<(), Refusal> {
        fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<Option<T>, Refusal> {
            let parsed = if text.is_empty() { None } else { Some(text.parse()) };
            parsed.transpose().map_err(|e: T::Err| Refusal::bare(Kind::Usage, e.to_string()))
        }
        fn placed(written: Result<(), AllocationError>) -> Result<(), Refusal> {
            written.map_err(|e| places::refusal(&e))
        }
        fn number<T: FromStr>(text: &str, example: &str) -> Result<Option<T>, Refusal> {
            let what = match (text.parse::<i128>(), text.parse::<f64>()) {
                (Ok(_), _) => "is out of range",
                (Err(_), Ok(number)) if number.is_finite() => "is not a whole number",
                (Err(_), _) => "is not a number",
            };
            let wrong = |_| Refusal::new(Kind::Usage, format!("`{text}` {what}"), format!("write one such as {example}"));
            if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) }
        }
        let text = text.trim();
        match self {
            Self::Model => text.clone_into(&mut draft.model),
            Self::Prompt => text.clone_into(&mut draft.prompt),
            Self::Negative => text.clone_into(&mut draft.negative),
            Self::Size => draft.size = parse::<Size>(text)?,
            Self::Steps => draft.steps = number(text, "20")?,
            Self::Cfg => draft.cfg = number(text, "7")?,
            Self::Sampler => draft.sampler = parse::<Sampler>(text)?,
            Self::Schedule => draft.schedule = parse::<Schedule>(text)?,
            Self::Seed => draft.seed = number::<u64>(text, "42, or leave it empty for a random one")?.map(Seed),
            Self::Batch => draft.batch = number(text, "4")?,
            Self::Precision => draft.precision = parse::<Target>(text)?,
            Self::Device => draft.compute_device = parse::<DeviceId>(text)?,
            Self::VirtualVram => placed(places::write_virtual_vram(text, draft))?,
            Self::Donors => placed(places::write_donors(text, draft))?,
            Self::Expert => places::write_expert(text, draft)?,
            Self::Pins => placed(places::write_pins(text, draft))?,
            Self::Priority => draft.priority = number(text, "0 or -5; higher runs first")?,
            Self::Output => draft.output = (!text.is_empty()).then(|| text.into()),
            Self::InitImage => draft.init_image = (!text.is_empty()).then(|| text.into()),
            Self::Denoise => draft.denoise = number(text, "0.75")?,
        }
        // Only this field is judged, so that its message stands beside it.
        let mut alone = JobDraft::default();
        match self {
            Self::Steps => alone.steps = draft.steps,
            Self::Cfg => alone.cfg = draft.cfg,
            Self::Batch => alone.batch = draft.batch,
            Self::Denoise => alone.denoise = draft.denoise,
            Self::Device => alone.compute_device = draft.compute_device,
            Self::Model
            | Self::Prompt
            | Self::Negative
            | Self::Size
            | Self::Sampler
            | Self::Schedule
            | Self::Seed
            | Self::Precision
            | Self::VirtualVram
            | Self::Donors
            | Self::Expert
            | Self::Pins
            | Self::Priority
            | Self::Output
            | Self::InitImage => {}
        }
        check_ranges(&alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: Field, text: &str, expected: Result<(), &str>) {
        let mut draft = JobDraft::default();
        let result = field.write(text, &mut draft);
        assert_eq!(result.as_ref().map_err(|e| e.message.as_str()).copied(), expected, "{field:?} {text}");
    }

    #[test]
    fn fields_are_judged_in_the_words_of_the_command_line() {
        check(Field::Size, "513x512", Err("513x512 is not divisible by 8; the nearest size is 512x512"));
        check(Field::Steps, "0", Err("--steps 0 is out of range"));
        check(Field::Steps, "many", Err("`many` is not a number"));
        check(Field::Steps, "-5", Err("`-5` is out of range"));
        check(Field::Steps, "4.5", Err("`4.5` is not a whole number"));
        check(Field::Priority, "99999999999", Err("`99999999999` is out of range"));
        check(Field::Cfg, "NaN", Err("--cfg NaN is out of range"));
        check(Field::Device, "sim:0", Ok(()));
        check(Field::Device, "amd:0", Err("amd:0 cannot compute"));
        check(Field::Device, "gpu", Err("`gpu` is not a device; use cuda:N, cpu, disk or sim:N"));
        check(Field::VirtualVram, "4 gigs", Err("column 3: `gigs` is not a unit"));
        check(Field::Donors, "cpu, tape", Err("column 6: `tape` is not a device that holds weights"));
        check(Field::Expert, "cpu,1GiB;disk,* | clip=disk,*", Ok(()));
        check(Field::Expert, "clip=disk,* | CLIP=cpu,*", Err("column 15: something is said of clip twice"));
        check(Field::Denoise, "2", Err("--denoise 2 is out of range"));
        check(Field::Sampler, " euler ", Ok(()));
        for field in Field::ALL {
            check(*field, "", Ok(()));
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut draft = JobDraft::default();
        let texts = [
            "night",
            "a hill",
            "fog",
            "512x768",
            "28",
            "4.5",
            "euler",
            "karras",
            "7",
            "2",
            "bf16",
            "cuda:1",
            "4GiB | clip=200MiB | vae=auto",
            "cpu,disk",
            "cpu,1GiB;disk,*",
            "vae=disk,3-5",
            "-2",
            "/out",
            "/in.png",
            "0.4",
        ];
        for (field, text) in Field::ALL.iter().zip(texts) {
            field.write(text, &mut draft).unwrap();
        }
        let back: Vec<String> = Field::ALL.iter().map(|f| f.read(&draft)).collect();
        assert_eq!(back, texts);
    }
}
