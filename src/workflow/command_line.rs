//! A draft as the command that asks for the same, to be copied into a shell.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;

use super::JobDraft;
use crate::placement::{Donors, OfPart, OffloadAsk, Part, VirtualVram};
use crate::prompt::{Dialect, Weighting};

/// Returns the `perilune run …` that asks for this draft. Only what the draft says is written.
#[must_use]
pub fn command_line(draft: &JobDraft) -> String {
    let mut line = Line { text: "perilune run".to_owned() };
    line.flag("-m", Some(&draft.model).filter(|m| !m.is_empty()));
    line.flag("--variant", draft.variant.as_ref());
    line.flag("--vae", draft.vae.as_ref());
    for clip in &draft.clip {
        line.flag("--clip", Some(clip));
    }
    for (role, name) in &draft.encoders {
        line.flag(role.flag(), Some(name));
    }
    for folder in &draft.models {
        line.flag("--models", Some(folder.display()));
    }
    line.flag("-p", Some(&draft.prompt).filter(|p| !p.is_empty()));
    line.flag("-n", Some(&draft.negative).filter(|n| !n.is_empty()));
    line.flag("--size", draft.size);
    line.flag("--steps", draft.steps);
    line.flag("--cfg", draft.cfg);
    line.flag("--guidance", draft.guidance);
    line.flag("--cfg-rescale", draft.cfg_rescale);
    line.flag("--shift", draft.shift);
    line.flag("--sampler", draft.sampler);
    line.flag("--schedule", draft.schedule);
    line.flag("--prediction", draft.prediction);
    line.flag("--seed", draft.seed);
    line.flag("--batch", draft.batch);
    line.flag("--precision", draft.precision.as_ref());
    line.flag("--init-image", draft.init_image.as_ref().map(|p| p.display()));
    line.flag("--denoise", draft.denoise);
    line.flag("--tiling", draft.tiling);
    line.flag("--passes", draft.passes);
    line.flag("--dialect", draft.dialect.map(Dialect::name));
    line.flag("--weighting", draft.weighting.map(Weighting::name));
    if draft.keep_latents {
        line.text.push_str(" --keep-latents");
    }
    line.flag("-o", draft.output.as_ref().map(|p| p.display()));
    line.flag("--priority", draft.priority);
    line.flag("--compute-device", draft.compute_device);
    line.offload(Part::Denoiser, &draft.offload);
    for (part, ask) in draft.parts.iter() {
        line.offload(part, ask);
    }
    if draft.held {
        line.text.push_str(" --held");
    }
    line.text
}

/// Whose daemon a script submits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// That of whoever runs it.
    Theirs,
    /// The one with its files in this folder.
    Home(&'a Path),
    /// The one of another box.
    Host(&'a str),
}

/// Returns a shell script that submits these drafts again, in their order.
#[must_use]
pub fn script(drafts: &[JobDraft]) -> String {
    script_to(Whose::Theirs, drafts)
}

/// Returns a shell script that submits these drafts again to a certain daemon.
#[must_use]
pub fn script_to(whose: Whose, drafts: &[JobDraft]) -> String {
    let lines: String = drafts.iter().flat_map(|draft| [command_line(draft), " --detach\n".to_owned()]).collect();
    let before = match whose {
        Whose::Theirs => String::new(),
        Whose::Home(home) => format!("export PERILUNE_HOME={}\n", quote(&home.to_string_lossy())),
        Whose::Host(host) => format!("perilune() {{ command perilune --host {} \"$@\"; }}\n", quote(host)),
    };
    format!("#!/bin/sh\n# Jobs that waited, {} of them, in their order: sh submits them again.\n{before}{lines}", drafts.len())
}

/// Returns the text as one word of a POSIX shell.
#[must_use]
pub fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

struct Line {
    text: String,
}

impl Line {
    fn offload(&mut self, part: Part, ask: &OffloadAsk) {
        // Of the diffusion network nothing needs to be said where nothing leaves; of a part it wins over what is said of several.
        let is_said = |amount: &VirtualVram| *amount != VirtualVram::None || part != Part::Denoiser && *ask == OffloadAsk::default();
        let virtual_vram = Some(ask.virtual_vram).filter(is_said);
        self.flag("--virtual-vram", virtual_vram.map(|value| OfPart { part, value }));
        let donors = Some(Donors(ask.donors.clone())).filter(|d| !d.0.is_empty());
        self.flag("--donor-device", donors.map(|value| OfPart { part, value }));
        self.flag("--expert-mode-allocations", ask.expert.as_ref().map(|value| OfPart { part, value }));
        self.flag("--pin-blocks", Some(&ask.pins).filter(|p| !p.is_empty()).map(|value| OfPart { part, value }));
    }

    fn flag(&mut self, name: &str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        let value = value.to_string();
        // A value that looks like a flag must be joined to its own; short flags take no `=`.
        let (name, glue) = if value.starts_with('-') { (long(name), "=") } else { (name, " ") };
        self.text.push(' ');
        self.text.push_str(name);
        self.text.push_str(glue);
        self.text.push_str(&quote(&value));
    }
}

fn long(name: &str) -> &str {
    match name {
        "-m" => "--model",
        "-p" => "--prompt",
        "-n" => "--negative",
        "-o" => "--output",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::{Sampler, Schedule};
    use crate::units::{DeviceId, Seed, Size};

    /// What a POSIX shell makes of a line without expansions.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                ' ' => words.extend(word.take()),
                '\'' => word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '\'')),
                '\\' => word.get_or_insert_default().extend(chars.next()),
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    fn draft() -> JobDraft {
        JobDraft {
            model: "night".to_owned(),
            prompt: "a lighthouse at dusk, it's late".to_owned(),
            steps: Some(28),
            cfg: Some(4.5),
            size: Some(Size::new(512, 768).unwrap()),
            seed: Some(Seed(7)),
            sampler: Some(Sampler::Dpmpp2m),
            schedule: Some(Schedule::Karras),
            compute_device: Some(DeviceId::Cuda(1)),
            priority: Some(-2),
            held: true,
            ..JobDraft::default()
        }
    }

    #[test]
    fn reads_as_an_operator_would_write_it() {
        assert_eq!(
            command_line(&draft()),
            r"perilune run -m night -p 'a lighthouse at dusk, it'\''s late' --size 512x768 --steps 28 --cfg 4.5 \
              --sampler dpmpp_2m --schedule karras --seed 7 --priority=-2 --compute-device cuda:1 --held"
                .replace("\\\n              ", "")
        );
        assert_eq!(command_line(&JobDraft::default()), "perilune run");
    }

    #[test]
    fn each_part_has_flags_of_its_own() {
        let ask = |virtual_vram: &str, donors: &[DeviceId]| OffloadAsk {
            virtual_vram: virtual_vram.parse().unwrap(),
            donors: donors.to_vec(),
            ..OffloadAsk::default()
        };
        let expert = OffloadAsk { expert: "cpu,1MiB;disk,*".parse().ok(), pins: "disk,3".parse().unwrap(), ..OffloadAsk::default() };
        let draft = JobDraft {
            offload: ask("4GiB", &[]),
            parts: [(Part::Vae, expert), (Part::Clip, ask("auto", &[DeviceId::Cpu, DeviceId::Disk]))].into_iter().collect(),
            ..JobDraft::default()
        };
        assert_eq!(
            command_line(&draft),
            "perilune run --virtual-vram 4GiB --virtual-vram clip=auto --donor-device clip=cpu,disk \
             --expert-mode-allocations 'vae=cpu,1MiB;disk,*' --pin-blocks vae=disk,3"
        );
        let draft = JobDraft { parts: [(Part::ClipL, OffloadAsk::default())].into_iter().collect(), ..JobDraft::default() };
        assert_eq!(command_line(&draft), "perilune run --virtual-vram clip_l=none", "it may be said of all encoders that some leaves");
    }

    #[test]
    fn a_prompt_that_looks_like_a_flag_stays_a_prompt() {
        let draft = JobDraft { prompt: "--steps 4".to_owned(), ..JobDraft::default() };
        assert_eq!(words(&command_line(&draft)), ["perilune", "run", "--prompt=--steps 4"]);
    }

    #[test]
    fn a_script_says_whose_daemon_it_submits_to() {
        let told = |whose| script_to(whose, &[JobDraft::default()]).lines().skip(2).collect::<Vec<_>>().join("|");
        assert_eq!(told(Whose::Theirs), "perilune run --detach");
        assert_eq!(told(Whose::Home(Path::new("/srv/my box"))), "export PERILUNE_HOME='/srv/my box'|perilune run --detach");
        assert_eq!(told(Whose::Host("ana@box")), "perilune() { command perilune --host ana@box \"$@\"; }|perilune run --detach");
    }

    proptest! {
        #[test]
        fn a_shell_reads_back_what_was_meant(prompt in ".*", negative in ".*", output in "[^\0]*") {
            let draft = JobDraft {
                prompt: prompt.clone(),
                negative: negative.clone(),
                output: (!output.is_empty()).then(|| output.clone().into()),
                ..JobDraft::default()
            };
            let mut expected = vec!["perilune".to_owned(), "run".to_owned()];
            for (short, name, value) in [("-p", "--prompt", prompt), ("-n", "--negative", negative), ("-o", "--output", output)] {
                if value.starts_with('-') {
                    expected.push(format!("{name}={value}"));
                } else if !value.is_empty() {
                    expected.extend([short.to_owned(), value]);
                }
            }
            prop_assert_eq!(words(&command_line(&draft)), expected);
        }
    }
}
