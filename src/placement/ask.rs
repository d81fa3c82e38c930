//! What a user asks to be offloaded: DisTorch's parameters, typed.
//!
//! The device that computes is not among them, for it is a matter of the job as a whole. Nothing here knows how
//! much memory there is: see [`budget`](super::budget).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{AllocationError, AskError, Problem};
use super::expression::{self, AUTO, Allocation, Bare, exact};
use super::pins::Pins;
use super::span::Span;
use crate::units::{Bytes, DeviceId};

/// The word for nothing.
const NONE: &str = "none";

/// How many bytes of weights are to leave the device that computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VirtualVram {
    /// None.
    #[default]
    None,
    /// As many as it has no room for.
    Auto,
    /// At least so many.
    AtLeast(Bytes),
}

/// What is to be offloaded, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OffloadAsk {
    /// How much leaves.
    pub virtual_vram: VirtualVram,
    /// Who may take it; the host's memory where nobody is named.
    pub donors: Vec<DeviceId>,
    /// How much goes where, instead of the two above.
    pub expert: Option<Allocation>,
    /// Blocks that must live on a certain device, whatever the others say.
    #[serde(skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
}

impl OffloadAsk {
    /// Returns whether everything stays where it is computed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.virtual_vram == VirtualVram::None && self.expert.is_none() && self.pins.is_empty()
    }

    /// Returns who takes what leaves `compute`: those named, else the host's memory, or its disk for the host itself.
    #[must_use]
    pub fn donors_of(&self, compute: DeviceId) -> Vec<DeviceId> {
        if !self.donors.is_empty() {
            return self.donors.clone();
        }
        match compute {
            DeviceId::Cpu => vec![DeviceId::Disk],
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) | DeviceId::Disk => vec![DeviceId::Cpu],
        }
    }

    /// Returns every device that it may give weights to.
    #[must_use]
    pub fn devices(&self, compute: DeviceId) -> Vec<DeviceId> {
        let mut devices = match (&self.expert, self.virtual_vram) {
            (Some(Allocation::Listed(listed)), _) => listed.devices(),
            (None, VirtualVram::None) => Vec::new(),
            (Some(Allocation::Auto) | None, _) => self.donors_of(compute),
        };
        devices.extend(self.pins.devices().into_iter().filter(|d| !devices.contains(d)).collect::<Vec<_>>());
        devices
    }

    /// Returns whether it leaves to the planner how much leaves.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        match &self.expert {
            Some(allocation) => matches!(allocation, Allocation::Auto),
            None => self.virtual_vram == VirtualVram::Auto,
        }
    }

    /// Checks that it can be meant by someone who computes on `compute`.
    pub fn check(&self, compute: DeviceId) -> Result<(), AskError> {
        match compute {
            DeviceId::Amd(_) | DeviceId::Disk => return Err(AskError::CannotCompute { device: compute }),
            DeviceId::Cuda(_) | DeviceId::Sim(_) | DeviceId::Cpu => {}
        }
        if self.expert.is_some() && self.virtual_vram != VirtualVram::None {
            return Err(AskError::ExpertAndVirtual);
        }
        if !compute.is_simulated()
            && let Some(device) = self.devices(compute).into_iter().find(|device| device.is_simulated())
        {
            return Err(AskError::SimulatedDonor { device, compute });
        }
        for (at, device) in self.donors.iter().copied().enumerate() {
            if let DeviceId::Amd(_) = device {
                return Err(AskError::CannotHold { device });
            }
            if device == compute {
                return Err(AskError::ComputeIsDonor { device });
            }
            if self.donors[..at].contains(&device) {
                return Err(AskError::DonorTwice { device });
            }
        }
        Ok(())
    }
}

impl FromStr for VirtualVram {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        virtual_vram(Span::whole(text), Bare::Refused)
    }
}

fn virtual_vram(span: Span<'_>, bare: Bare) -> Result<VirtualVram, AllocationError> {
    if span.text.eq_ignore_ascii_case(AUTO) {
        return Ok(VirtualVram::Auto);
    }
    if span.text.eq_ignore_ascii_case(NONE) {
        return Ok(VirtualVram::None);
    }
    let bytes = expression::amount(span, bare).map_err(|error| AllocationError { hint: amount_hint(&error.problem), ..error })?;
    Ok(if bytes == Bytes::ZERO { VirtualVram::None } else { VirtualVram::AtLeast(bytes) })
}

/// Says what to do about an amount that cannot be read: neither shares nor the rest are one.
fn amount_hint(problem: &Problem) -> &'static str {
    match problem {
        Problem::UnknownUnit { unit } if unit == "%" => {
            "write bytes, such as `4GiB`; a share is an expert allocation's, as in `cuda:0,60%;cpu,*`"
        }
        Problem::UnknownUnit { .. } => "use B, KiB, MiB, GiB or TiB; KB and K are KiB here, and so on",
        Problem::NotANumber { .. } => "write digits and a unit, such as `2.5GiB`; or `auto`, or `none`",
        Problem::TooLarge { .. } => "write a smaller amount; all that may leave does so where the amount is larger than the model",
        other => other.hint(),
    }
}

impl fmt::Display for VirtualVram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad(NONE),
            Self::Auto => f.pad(AUTO),
            Self::AtLeast(bytes) => f.pad(&exact(*bytes)),
        }
    }
}

impl Serialize for VirtualVram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VirtualVram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// All four parameters, as one text of the original has them: `<expert>#<compute>[;<gigabytes>;<donors>]`.
///
/// A list of devices decides alone, as it does there: the original's nodes write their slider behind it whether it was touched or
/// not. Its fields are read, so that a mistake is pointed at, and forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullAsk {
    /// The device that computes.
    pub compute: DeviceId,
    /// The other three.
    pub ask: OffloadAsk,
}

impl FromStr for FullAsk {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        let whole = Span::whole(text);
        let (expert, rest) = whole.split_once('#').ok_or_else(|| whole.from(whole.text.len()).error(Problem::NoCompute))?;
        let expert = if expert.text.is_empty() { None } else { Some(expression::read(expert)?) };
        match rest.split(';').as_slice() {
            [compute] if compute.text.is_empty() => Err(compute.error(Problem::NoCompute)),
            [compute] => Ok(Self { compute: compute.device()?, ask: OffloadAsk { expert, ..OffloadAsk::default() } }),
            [compute, gigabytes, donors] => {
                let compute = compute.device()?;
                let virtual_vram = virtual_vram(*gigabytes, Bare::Gibibytes)?;
                let donors = devices(*donors)?;
                Ok(match expert {
                    Some(Allocation::Listed(_)) => Self { compute, ask: OffloadAsk { expert, ..OffloadAsk::default() } },
                    Some(Allocation::Auto) | None => {
                        Self { compute, ask: OffloadAsk { virtual_vram, donors, expert, pins: Pins::default() } }
                    }
                })
            }
            fields => Err(rest.error(Problem::Fields { found: fields.len() })),
        }
    }
}

/// Reads devices that take weights.
pub(super) fn devices(span: Span<'_>) -> Result<Vec<DeviceId>, AllocationError> {
    let mut devices = Vec::new();
    for name in span.split(',') {
        let device = name.device().map_err(|error| match error.problem {
            Problem::Empty => AllocationError { hint: "write devices with commas between them, such as `cpu,disk`", ..error },
            _ => error,
        })?;
        if devices.contains(&device) {
            return Err(name.error(Problem::Duplicate { device }));
        }
        devices.push(device);
    }
    Ok(devices)
}

impl FullAsk {
    /// Returns it with the blocks that are pinned, for which the original has no word: `#cpu, pinned disk,3`.
    #[must_use]
    pub fn with_pins(&self) -> String {
        let pins = &self.ask.pins;
        if pins.is_empty() { self.to_string() } else { format!("{self}, pinned {pins}") }
    }
}

/// As the original writes it; gibibytes carry their unit.
impl fmt::Display for FullAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(expert) = &self.ask.expert {
            write!(f, "{expert}")?;
        }
        write!(f, "#{}", self.compute)?;
        if self.ask.virtual_vram == VirtualVram::None && self.ask.donors.is_empty() {
            return Ok(());
        }
        let donors: Vec<String> = self.ask.donors_of(self.compute).iter().map(ToString::to_string).collect();
        write!(f, ";{};{}", self.ask.virtual_vram, donors.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GPU: DeviceId = DeviceId::Cuda(0);

    fn full(text: &str) -> Result<String, String> {
        text.parse::<FullAsk>().map(|f| f.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn one_text_holds_all_four_parameters() {
        let asked: FullAsk = "#cuda:0;4.0;cuda:1,cpu".parse().unwrap();
        let ask = OffloadAsk {
            virtual_vram: VirtualVram::AtLeast(Bytes::gib(4)),
            donors: vec![DeviceId::Cuda(1), DeviceId::Cpu],
            ..OffloadAsk::default()
        };
        assert_eq!(asked, FullAsk { compute: GPU, ask });
        for (text, canonical) in [
            (" cuda:0,2.5gb ; cpu,* # cuda:0 ", "cuda:0,2560MiB;cpu,*#cuda:0"),
            ("#cuda:0;2.5;cpu", "#cuda:0;2560MiB;cpu"),
            ("#cuda:0;0;cpu", "#cuda:0;none;cpu"),
            ("#cpu;auto;disk", "#cpu;auto;disk"),
            ("#sim:1", "#sim:1"),
            ("auto#cuda:0", "auto#cuda:0"),
            ("auto#cuda:0;none;disk", "auto#cuda:0;none;disk"),
            ("cpu,50%;disk,*#cpu;4.0;disk", "cpu,50%;disk,*#cpu"),
            ("cuda:0,2gb;cpu,*#cuda:0;4.0;cuda:0", "cuda:0,2GiB;cpu,*#cuda:0"),
        ] {
            assert_eq!(full(text).as_deref(), Ok(canonical), "{text}");
            assert_eq!(full(canonical).as_deref(), Ok(canonical));
        }
    }

    #[test]
    fn a_list_decides_alone_whatever_the_slider_says() {
        let asked: FullAsk = "cpu,50%;disk,*#cpu;4.0;cpu".parse().unwrap();
        assert_eq!(asked, "cpu,50%;disk,*#cpu".parse().unwrap());
        assert_eq!(asked.ask.check(asked.compute), Ok(()), "nobody is a donor");
        // The original has no such word, so that nobody's slider stands behind it.
        let both: FullAsk = "auto#cuda:0;4.0;cpu".parse().unwrap();
        assert_eq!(both.ask.check(both.compute), Err(AskError::ExpertAndVirtual));
    }

    #[test]
    fn pins_are_told_beside_it() {
        let said = |pins: &str| {
            let ask = OffloadAsk { pins: pins.parse().unwrap(), ..OffloadAsk::default() };
            FullAsk { compute: DeviceId::Cpu, ask }.with_pins()
        };
        assert_eq!((said("").as_str(), said("disk,4+3").as_str()), ("#cpu", "#cpu, pinned disk,3-4"));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_pointed_at() {
        for (text, message) in [
            ("cuda:0,2gb;cpu,*", "column 17: the device that computes is missing"),
            ("#", "column 2: the device that computes is missing"),
            ("#cuda:0;4", "column 2: 2 fields stand after `#`"),
            ("#cuda:0;4;cpu;cpu", "column 2: 4 fields stand after `#`"),
            ("#cuda:0;4;", "column 11: nothing stands here"),
            ("#cuda:0;four;cpu", "column 9: `four` is not an amount"),
            ("#cuda:0;4;cpu, cpu", "column 16: `cpu` is named twice"),
            ("#cuda:0;4;remote", "column 11: `remote` cannot hold weights yet"),
            ("cpu,*#cuda:0;four;cpu", "column 14: `four` is not an amount"),
            ("cpu,*#cuda:0;4;tape", "column 16: `tape` is not a device that holds weights"),
            ("ü,1gb#cuda:0", "column 1: `ü` is not a device that holds weights"),
            ("cpu,1gb#ü", "column 9: `ü` is not a device that holds weights"),
        ] {
            assert_eq!(full(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn virtual_vram_is_typed_with_a_unit() {
        for (text, expected) in [
            ("4GiB", "4GiB"),
            ("4Gi", "4GiB"),
            ("4.5 gb", "4608MiB"),
            ("0", "none"),
            ("0.0", "none"),
            ("none", "none"),
            ("AUTO", "auto"),
            ("1b", "1B"),
        ] {
            assert_eq!(text.parse::<VirtualVram>().map(|v| v.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for (text, hint) in [
            ("50%", "write bytes, such as `4GiB`; a share is an expert allocation's, as in `cuda:0,60%;cpu,*`"),
            ("2XB", "use B, KiB, MiB, GiB or TiB; KB and K are KiB here, and so on"),
            ("*", "write digits and a unit, such as `2.5GiB`; or `auto`, or `none`"),
        ] {
            assert_eq!(text.parse::<VirtualVram>().unwrap_err().hint, hint, "{text}");
        }
        let error = "4".parse::<VirtualVram>().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.hint), ("column 1: `4` has no unit", "write one, such as `4GiB`"));
    }

    #[test]
    fn asks_that_contradict_themselves_are_refused_by_name() {
        let check = |ask: &OffloadAsk| ask.check(GPU);
        let some = VirtualVram::Auto;
        assert_eq!(check(&OffloadAsk::default()), Ok(()));
        let donors = |donors: &[DeviceId]| OffloadAsk { virtual_vram: some, donors: donors.to_vec(), ..OffloadAsk::default() };
        assert_eq!(check(&donors(&[DeviceId::Cpu, DeviceId::Disk])), Ok(()));
        assert_eq!(check(&donors(&[DeviceId::Cpu, GPU])), Err(AskError::ComputeIsDonor { device: GPU }));
        let on_cpu = donors(&[DeviceId::Cpu]).check(DeviceId::Cpu).unwrap_err();
        assert_eq!(on_cpu.hint(), "name disk, or nobody: the processor takes weights from there");
        assert_eq!(check(&donors(&[DeviceId::Cpu, DeviceId::Cpu])), Err(AskError::DonorTwice { device: DeviceId::Cpu }));
        assert_eq!(check(&donors(&[DeviceId::Amd(0)])), Err(AskError::CannotHold { device: DeviceId::Amd(0) }));
        let both = OffloadAsk { virtual_vram: some, expert: Some(Allocation::Auto), ..OffloadAsk::default() };
        assert_eq!(check(&both), Err(AskError::ExpertAndVirtual));
        assert_eq!(OffloadAsk::default().check(DeviceId::Disk), Err(AskError::CannotCompute { device: DeviceId::Disk }));
    }

    #[test]
    fn the_shape_is_text_that_people_write() {
        let json = r#"{"virtual_vram":"4GiB","donors":["cpu"],"expert":null}"#;
        let ask: OffloadAsk = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&ask).unwrap(), json);
        assert_eq!(serde_json::from_str::<OffloadAsk>("{}").unwrap(), OffloadAsk::default());
        assert!(serde_json::from_str::<OffloadAsk>(r#"{"donor":"cpu"}"#).is_err());
        let pinned: OffloadAsk = serde_json::from_str(r#"{"pins":"disk,4+3"}"#).unwrap();
        assert_eq!((pinned.is_nothing(), serde_json::to_value(&pinned).unwrap()["pins"].as_str()), (false, Some("disk,3-4")));
        assert_eq!(pinned.devices(DeviceId::Cpu), [DeviceId::Disk]);
        let expert: OffloadAsk = serde_json::from_str(r#"{"expert":"cuda:0,1gb; cpu,*"}"#).unwrap();
        assert!(!expert.is_nothing() && OffloadAsk { donors: vec![GPU], ..OffloadAsk::default() }.is_nothing());
        assert_eq!(serde_json::to_value(&expert).unwrap()["expert"], "cuda:0,1GiB;cpu,*");
    }

    #[test]
    fn what_leaves_goes_to_the_host_where_nobody_is_named() {
        let ask = OffloadAsk::default();
        assert_eq!((ask.donors_of(GPU), ask.donors_of(DeviceId::Cpu)), (vec![DeviceId::Cpu], vec![DeviceId::Disk]));
    }

    proptest! {
        #[test]
        fn amounts_read_back(n in any::<u64>(), shift in 0..64u32) {
            let vram = if n >> shift == 0 { VirtualVram::None } else { VirtualVram::AtLeast(Bytes(n >> shift)) };
            prop_assert_eq!(vram.to_string().parse::<VirtualVram>(), Ok(vram));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([a-z0-9:,;#*.% ü]{0,12}#?(cpu|cuda:0);[0-9.]{0,3};(cpu|,|disk){0,3})|.*") {
            if let Ok(full) = text.parse::<FullAsk>() {
                prop_assert_eq!(full.to_string().parse(), Ok(full));
            }
        }
    }
}
