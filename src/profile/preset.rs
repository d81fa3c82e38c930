//! One preset. Every value may be left out; what is said on the command line wins over it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::daemon::{DaemonPreset, Schema};
use super::misread::Misread;
use super::part::{self, PartPreset, PartPresets};
use super::position;
use super::set::SetPreset;
use crate::devices::SimulatedGpu;
use crate::placement::{Expert, Floors, Part, PartAsks, Pins, VirtualVram};
use crate::quant::precision::Target;
use crate::sampling::{Sampler, Schedule};
use crate::units::{DeviceId, SaidThresholds, Size};

/// What a run is to be like, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// The shape that the file has.
    #[serde(skip_serializing)]
    pub schema: Schema,
    /// Solver steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub cfg: Option<f64>,
    /// Solver.
    pub sampler: Option<Sampler>,
    /// Noise schedule.
    pub schedule: Option<Schedule>,
    /// Picture size, `512x768`.
    #[serde(with = "as_text")]
    pub size: Option<Size>,
    /// What to compute in, or what the diffusion network is stored as.
    pub precision: Option<Target>,
    /// The device that computes.
    pub compute_device: Option<DeviceId>,
    /// How many gigabytes (GiB) of the diffusion network's weights leave the device that computes, or `auto`.
    #[serde(with = "super::as_gigabytes")]
    pub virtual_vram_gb: Option<VirtualVram>,
    /// Who may take them.
    #[serde(deserialize_with = "super::as_donors::deserialize")]
    pub donor_device: Vec<DeviceId>,
    /// How much of them goes where, instead of the two above; or all that the original says in one string.
    pub expert_mode_allocations: Option<Expert>,
    /// Blocks of them that must live on a certain device, whatever the others say.
    pub pin_blocks: Option<Pins>,
    /// Where weights of other parts live: the four above for each, by its name.
    #[serde(skip_serializing_if = "PartPresets::is_empty")]
    pub parts: PartPresets,
    /// Folder for the images.
    pub output: Option<PathBuf>,
    /// Jobs of higher priority run first.
    pub priority: Option<i32>,
    /// GPUs that a daemon with this profile simulates; the N-th is `sim:N`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub simulated: Vec<SimulatedGpu>,
    /// How much of each device stays free.
    #[serde(skip_serializing_if = "Floors::is_empty")]
    pub floors: Floors,
    /// Models that a daemon with this profile loads before any job wants them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetPreset>,
    /// How a daemon with this profile behaves.
    #[serde(skip_serializing_if = "DaemonPreset::is_empty")]
    pub daemon: DaemonPreset,
    /// Where values of this box's devices begin to need a look; they win over the theme's.
    #[serde(skip_serializing_if = "SaidThresholds::is_empty")]
    pub thresholds: SaidThresholds,
}

/// A preset that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct PresetError {
    /// The file it comes from.
    pub file: String,
    /// What is wrong: with line and column, or with the key and the column within its value.
    pub problem: String,
    /// Line and column in the file, from 1.
    pub place: (usize, usize),
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// The presets that come with the program, by name.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("fast", include_str!("../../profiles/fast.yaml")),
    ("sd15", include_str!("../../profiles/sd15.yaml")),
    ("simulated", include_str!("../../profiles/simulated.yaml")),
    ("cpu", include_str!("../../profiles/cpu.yaml")),
    ("one-24gb", include_str!("../../profiles/one-24gb.yaml")),
    ("two-unequal", include_str!("../../profiles/two-unequal.yaml")),
    ("eight-h100", include_str!("../../profiles/eight-h100.yaml")),
    ("simulated-dual", include_str!("../../profiles/simulated-dual.yaml")),
];

impl Preset {
    /// Reads a preset. `file` is named in the error.
    pub fn parse(text: &str, file: &str) -> Result<Self, PresetError> {
        // An empty document is a preset that says nothing.
        let read: Result<Option<Self>, _> = serde_yaml::from_str(text);
        let read = read.map(Option::unwrap_or_default).map_err(|e| e.to_string());
        let read = read.and_then(|preset| preset.thresholds.checked().map(|_| preset).map_err(|e| e.to_string()));
        let misread = match &read {
            Ok(preset) => preset.contradiction(None),
            Err(_) => Misread::find(text, &[]),
        };
        match (misread, read) {
            (Some(misread), _) => Err(PresetError {
                file: file.to_owned(),
                problem: misread.to_string(),
                place: misread.place(text),
                hint: Some(misread.hint),
            }),
            (None, Ok(preset)) => Ok(preset),
            (None, Err(told)) => {
                let (line, column) = position::position(&told, text);
                let words = position::split(&told).map_or(told.as_str(), |(before, _)| before);
                let problem = format!("{words} at line {line} column {column}");
                Err(PresetError { file: file.to_owned(), problem, place: (line, column), hint: None })
            }
        }
    }

    /// Returns it as a file: what it says, and nothing of what it does not say.
    #[must_use]
    pub fn write(&self) -> String {
        let mut all = serde_yaml::to_value(self).unwrap_or_default();
        if let Some(values) = all.as_mapping_mut() {
            values.retain(|_, value| !value.is_null() && value.as_sequence().is_none_or(|list| !list.is_empty()));
        }
        // Words and numbers have no way to fail.
        serde_yaml::to_string(&all).unwrap_or_default()
    }

    /// Returns what it asks to be offloaded of each part, the diffusion network among them.
    #[must_use]
    pub fn asks(&self) -> PartAsks {
        let network = self.network();
        let all = self.parts.iter().map(|(part, preset)| (*part, preset)).chain([(Part::Denoiser, &network)]);
        all.filter(|(_, preset)| **preset != PartPreset::default()).map(|(part, preset)| (part, preset.ask())).collect()
    }

    /// Returns the device that computes: what is said of it, else what a full string names.
    #[must_use]
    pub fn computes_on(&self) -> Option<DeviceId> {
        let named = || self.network().computes_on().or_else(|| self.parts.values().find_map(PartPreset::computes_on));
        self.compute_device.or_else(named)
    }

    /// Finds a full string that something else in the preset contradicts, or who computes as it is said beside it.
    #[must_use]
    pub fn contradiction(&self, compute: Option<DeviceId>) -> Option<Misread> {
        part::contradiction(&self.network(), &self.parts, self.compute_device.or(compute))
    }

    fn network(&self) -> PartPreset {
        PartPreset {
            virtual_vram_gb: self.virtual_vram_gb,
            donor_device: self.donor_device.clone(),
            expert_mode_allocations: self.expert_mode_allocations.clone(),
            pin_blocks: self.pin_blocks.clone(),
        }
    }

    /// Returns whether it says something that only a daemon which is started with it can do.
    #[must_use]
    pub fn is_about_the_daemon(&self) -> bool {
        !(self.simulated.is_empty() && self.floors.is_empty() && self.sets.is_empty() && self.daemon.is_empty())
    }

    /// Returns the embedded preset of this name.
    #[must_use]
    pub fn embedded(name: &str) -> Option<Result<Self, PresetError>> {
        EMBEDDED.iter().find(|(n, _)| *n == name).map(|(n, text)| Self::parse(text, &format!("profiles/{n}.yaml")))
    }

    /// Returns this preset with the other's values where it has none.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let compute_device = self.computes_on().or(below.computes_on());
        let network = self.network().over(below.network());
        Self {
            steps: self.steps.or(below.steps),
            cfg: self.cfg.or(below.cfg),
            sampler: self.sampler.or(below.sampler),
            schedule: self.schedule.or(below.schedule),
            size: self.size.or(below.size),
            precision: self.precision.or(below.precision),
            compute_device,
            virtual_vram_gb: network.virtual_vram_gb,
            donor_device: network.donor_device,
            expert_mode_allocations: network.expert_mode_allocations,
            pin_blocks: network.pin_blocks,
            parts: part::over(self.parts, below.parts),
            output: self.output.or(below.output),
            priority: self.priority.or(below.priority),
            schema: Schema,
            floors: self.floors.over(below.floors),
            sets: if self.sets.is_empty() { below.sets } else { self.sets },
            daemon: self.daemon.over(below.daemon),
            thresholds: self.thresholds.over(below.thresholds),
            simulated: if self.simulated.is_empty() { below.simulated } else { self.simulated },
        }
    }
}

/// A size is one word in YAML, not two numbers.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::units::Size;

    #[expect(clippy::ref_option, reason = "serde's own signature")]
    pub(super) fn serialize<S: Serializer>(size: &Option<Size>, to: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => to.collect_str(size),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Size>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|t| t.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::placement::FullAsk;
    use crate::units::Bytes;

    #[test]
    fn every_preset_that_ships_can_be_read() {
        for (name, _) in EMBEDDED {
            let preset = Preset::embedded(name).unwrap().unwrap();
            assert_ne!(preset, Preset::default(), "{name} says nothing");
        }
        assert!(Preset::embedded("slow").is_none());
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let check = |text: &str, expected: &str| {
            let message = Preset::parse(text, "mine.yaml").unwrap_err().to_string();
            assert!(message.starts_with("mine.yaml: ") && message.contains(expected), "{message}");
        };
        check("steps: 20\nstep: 3\n", "line 2");
        check("size: 500x500\n", "nearest size is 504x504");
        check("steps: 20\ncompute_device: gpu\n", "at line 2 column");
        check("sampler: fastest\n", "unknown variant `fastest`");
        check("virtual_vram_gb: [4]\n", "a number of gigabytes");
        check("virtual_vram_gb: 4 gigs\n", "virtual_vram_gb");
        check(
            "steps: 20\nthresholds:\n  temp: [80, 90]\n  mem: [90, 97]\n",
            "90 is no share of a whole; write 0.9 for 90 % at line 4 column 3",
        );
        check("thresholds: {temp: [90, 80]}\n", "at line 1 column");
        assert_eq!(Preset::parse("", "mine.yaml").unwrap(), Preset::default());
    }

    #[test]
    fn texts_with_a_grammar_are_what_their_flags_take() {
        let read = |text: &str| Preset::parse(text, "mine.yaml").unwrap();
        let preset = read("expert_mode_allocations: '#cpu;0.004;disk'\npin_blocks: disk,1\n");
        let network = preset.asks().of(Part::Denoiser);
        assert_eq!((preset.computes_on(), network.donors.as_slice()), (Some(DeviceId::Cpu), &[DeviceId::Disk][..]));
        assert_eq!((network.virtual_vram.to_string(), network.pins.to_string()), ("4294967B".to_owned(), "disk,1".to_owned()));
        assert_eq!(Preset::parse(&preset.write(), "mine.yaml"), Ok(preset.clone()));
        assert_eq!(read("donor_device: cpu, disk\n").donor_device, [DeviceId::Cpu, DeviceId::Disk]);
        let of_vae = read("parts: {vae: {expert_mode_allocations: 'cpu,1MiB;disk,*#cpu'}}\n");
        assert_eq!((of_vae.computes_on(), of_vae.asks().of(Part::Vae).expert), (Some(DeviceId::Cpu), "cpu,1MiB;disk,*".parse().ok()));
        // What lies above decides, in whichever way it is said.
        for (above, below, expected) in [
            ("virtual_vram_gb: 1\n", "expert_mode_allocations: 'cpu,*#cuda:1'\n", "#cuda:1;1GiB;cpu"),
            ("expert_mode_allocations: 'cpu,*'\ncompute_device: cuda:0\n", "virtual_vram_gb: 2\ndonor_device: [disk]\n", "cpu,*#cuda:0"),
            ("donor_device: [disk]\n", "expert_mode_allocations: '#cuda:0;1;cpu'\n", "#cuda:0;1GiB;disk"),
            ("expert_mode_allocations: '#cuda:0'\n", "virtual_vram_gb: 2\ncompute_device: cpu\n", "#cuda:0"),
        ] {
            let both = read(above).over(read(below));
            let full = FullAsk { compute: both.computes_on().unwrap(), ask: both.asks().of(Part::Denoiser) };
            assert_eq!(full.to_string(), expected, "{above}{below}");
        }
    }

    #[test]
    fn a_text_with_a_grammar_is_pointed_into_and_has_its_own_hint() {
        let check = |text: &str, problem: &str, place: (usize, usize), hint: &str| {
            let error = Preset::parse(text, "mine.yaml").unwrap_err();
            assert_eq!((error.to_string(), error.place), (format!("mine.yaml: {problem}"), place));
            assert!(error.hint.as_deref().is_some_and(|own| own.starts_with(hint)), "{:?}", error.hint);
        };
        let unit = "use B, KiB";
        check("expert_mode_allocations: 'cpu,2XB'\n", "expert_mode_allocations: column 6: `XB` is not a unit", (1, 26), unit);
        check("parts:\n  vae: {virtual_vram_gb: 2XB}\n", "parts.vae.virtual_vram_gb: column 2: `XB` is not a unit", (2, 26), unit);
        check("steps: 4\nvirtual_vram_gb: -1\n", "virtual_vram_gb: column 1: `-1GiB` is not an amount", (2, 18), "write");
        check("donor_device: cpu,tape\n", "donor_device: column 5: `tape` is not a device that holds weights", (1, 15), "use cpu");
        check(
            "pin_blocks: disk,7-3\n",
            "pin_blocks: column 6: `7-3` is no number of a block, and no range of them",
            (1, 13),
            "write blocks",
        );
        check(
            "virtual_vram_gb: 2\nexpert_mode_allocations: '#cpu'\n",
            "virtual_vram_gb: stands beside `#cpu`, which says how much leaves, and who takes it",
            (1, 18),
            "leave out virtual_vram_gb, or `#`",
        );
        check(
            "compute_device: cuda:0\nexpert_mode_allocations: '#cpu'\n",
            "expert_mode_allocations: `#cpu` and compute_device cuda:0 name two devices that compute",
            (2, 26),
            "one device computes all parts",
        );
    }

    #[test]
    fn gigabytes_are_a_number_and_other_amounts_a_text() {
        for (text, bytes) in [("4", Some(Bytes::gib(4))), ("1.5", Some(Bytes::mib(1536))), ("800MiB", Some(Bytes::mib(800))), ("~", None)] {
            let preset = Preset::parse(&format!("virtual_vram_gb: {text}\ndonor_device: [cpu, disk]\n"), "mine.yaml").unwrap();
            assert_eq!(preset.virtual_vram_gb, bytes.map(VirtualVram::AtLeast), "{text}");
            assert_eq!(preset.donor_device, [DeviceId::Cpu, DeviceId::Disk]);
        }
    }

    #[test]
    fn what_lies_above_wins() {
        let above = Preset { steps: Some(4), ..Preset::default() };
        let below = Preset { steps: Some(20), cfg: Some(7.0), ..Preset::default() };
        let both = above.over(below);
        assert_eq!((both.steps, both.cfg), (Some(4), Some(7.0)));
    }

    fn any_preset() -> impl Strategy<Value = Preset> {
        let size = prop::option::of((1u32..=2048, 1u32..=2048).prop_map(|(w, h)| Size::new(w * 8, h * 8).unwrap()));
        let device = prop::option::of(any::<u16>().prop_map(DeviceId::Cuda));
        let output = prop::option::of("/[a-z:# é]{1,9}x".prop_map(PathBuf::from));
        let numbers = (any::<Option<u32>>(), prop::option::of(-1e9..1e9_f64), any::<Option<i32>>());
        (numbers, size, device, output).prop_map(|((steps, cfg, priority), size, compute_device, output)| Preset {
            steps,
            cfg,
            size,
            compute_device,
            output,
            priority,
            ..Preset::default()
        })
    }

    proptest! {
        #[test]
        fn presets_read_back(preset in any_preset()) {
            let text = preset.write();
            prop_assert_eq!(Preset::parse(&text, "mine.yaml"), Ok(preset));
        }

        #[test]
        fn any_text_is_a_preset_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "steps", "cfg", "sampler", "euler", "size", "512x512", "compute_device", "cpu", "output", "7.5", "20", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "> ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "1e99", "\u{0}", "é",
        ]), 0..30)) {
            drop(Preset::parse(&parts.concat(), "mine.yaml"));
        }
    }
}
