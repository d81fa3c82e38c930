//! What is asked to be offloaded of each part: the flags, over a profile's words.

use std::fmt::Display;

use super::part_args::OffloadArgs;
use crate::placement::{Allocation, Donors, Expert, OfPart, OffloadAsk, Part, PartAsks, VirtualVram};
use crate::profile::Preset;
use crate::units::DeviceId;
use crate::workflow::{Kind, Refusal};

/// What is asked to be offloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of the diffusion network.
    pub network: OffloadAsk,
    /// Of the other parts.
    pub parts: PartAsks,
    /// The device that computes, where a full string names it.
    pub compute: Option<DeviceId>,
    /// What was said to no effect.
    pub idle: Vec<String>,
}

impl Asked {
    /// Returns the device that computes, where a full string or the flag names it.
    pub fn computes_on(&self, flag: Option<DeviceId>) -> Result<Option<DeviceId>, Refusal> {
        match (self.compute, flag) {
            (Some(named), Some(flag)) if named != flag => Err(two_devices(named, &format!("--compute-device {flag}"))),
            (named, flag) => Ok(named.or(flag)),
        }
    }
}

/// A full string names a device that computes, and something else another one.
#[must_use]
pub fn two_devices(named: DeviceId, other: &str) -> Refusal {
    let message = format!("`#{named}` in --expert-mode-allocations and {other} name two devices that compute");
    Refusal::new(Kind::Usage, message, "one device computes all parts: leave out one of the two, or `#` and what follows")
}

/// Returns what is asked of the diffusion network and of the other parts, with a profile's words where the flags say nothing.
pub fn offload(args: OffloadArgs, preset: &Preset) -> Result<Asked, Refusal> {
    let OffloadArgs { virtual_vram, donor_device, expert_mode_allocations, pin_blocks } = args;
    once(&virtual_vram, "--virtual-vram")?;
    once(&expert_mode_allocations, "--expert-mode-allocations")?;
    once(&pin_blocks, "--pin-blocks")?;
    let compute = named(&expert_mode_allocations, &virtual_vram, &donor_device)?;
    let mut asks = preset.asks();
    // A flag takes the place of what a profile says in the other way; two flags stay beside each other and are refused later.
    for OfPart { part, .. } in &expert_mode_allocations {
        asks.edit(*part, |ask| ask.virtual_vram = VirtualVram::None);
    }
    for OfPart { part, value } in virtual_vram {
        asks.edit(part, |ask| (ask.virtual_vram, ask.expert) = (value, None));
    }
    for OfPart { part, value } in expert_mode_allocations {
        asks.edit(part, |ask| {
            match value {
                // Nobody takes what is listed device by device.
                Expert::Alone(listed @ Allocation::Listed(_)) => (ask.expert, ask.donors) = (Some(listed), Vec::new()),
                Expert::Alone(Allocation::Auto) => ask.expert = Some(Allocation::Auto),
                Expert::Full(full) => *ask = OffloadAsk { pins: std::mem::take(&mut ask.pins), ..full.ask },
            }
        });
    }
    // Donors may be listed in one flag or in several; a profile's do not stand before them.
    for named in &donor_device {
        asks.edit(named.part, |ask| ask.donors.clear());
    }
    let mut with_donors: Vec<Part> = donor_device.iter().map(|donors| donors.part).collect();
    with_donors.sort_unstable();
    with_donors.dedup();
    for OfPart { part, value } in donor_device {
        asks.edit(part, |ask| ask.donors.extend(value.0));
    }
    for OfPart { part, value } in pin_blocks {
        asks.edit(part, |ask| ask.pins = value);
    }
    let idle = with_donors.into_iter().filter_map(|part| idle(part, &asks.of(part))).collect();
    Ok(Asked { network: asks.take(Part::Denoiser), parts: asks, compute, idle })
}

/// Tells of donors that have nothing to take.
fn idle(part: Part, ask: &OffloadAsk) -> Option<String> {
    let what = OfPart { part, value: Donors(ask.donors.clone()) };
    let more = OfPart { part, value: VirtualVram::Auto };
    (ask.virtual_vram == VirtualVram::None && ask.expert.is_none()).then(|| {
        format!(
            "warning: --donor-device {what} has nothing to take: how much leaves is not said; --virtual-vram {more} has the planner say it"
        )
    })
}

/// Returns the device that computes, where full strings name it: all the same, and each alone in what it says.
fn named(experts: &[OfPart<Expert>], virtual_vram: &[OfPart<VirtualVram>], donors: &[OfPart<Donors>]) -> Result<Option<DeviceId>, Refusal> {
    let mut compute = None;
    for OfPart { part, value } in experts {
        let Expert::Full(full) = value else { continue };
        let amount = virtual_vram.iter().any(|other| other.part == *part).then_some("--virtual-vram");
        let donor = donors.iter().any(|other| other.part == *part).then_some("--donor-device");
        if let Some(flag) = amount.or(donor) {
            let message = format!("{flag} is given for {part} beside `{full}`, which says how much leaves, and who takes it");
            return Err(Refusal::new(Kind::Usage, message, format!("leave out {flag}, or `#` and what follows")));
        }
        match compute.replace(full.compute) {
            Some(other) if other != full.compute => return Err(two_devices(full.compute, &format!("`#{other}`"))),
            Some(_) | None => {}
        }
    }
    Ok(compute)
}

/// A flag may be given once for each part.
fn once<T: Display>(values: &[OfPart<T>], flag: &str) -> Result<(), Refusal> {
    let again = values.iter().enumerate().find(|(at, value)| values[..*at].iter().any(|before| before.part == value.part));
    let Some((_, value)) = again else { return Ok(()) };
    let message = format!("{flag} is given twice for {}", value.part);
    Err(Refusal::new(Kind::Usage, message, format!("each part may have one; `{flag} vae=…` is about the autoencoder alone")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::placement::{AskError, FullAsk};
    use crate::units::Bytes;

    fn asked(flags: &str, profile: &str) -> Result<(OffloadAsk, PartAsks), Refusal> {
        all(flags, profile).map(|asked| (asked.network, asked.parts))
    }

    fn all(flags: &str, profile: &str) -> Result<Asked, Refusal> {
        let line = format!("perilune run -m x {flags}");
        let Some(Command::Run(args)) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!("{line}") };
        offload(args.placing.offload, &Preset::parse(profile, "mine.yaml").unwrap())
    }

    #[test]
    fn flags_are_about_the_part_that_they_name() {
        let flags =
            "--virtual-vram 4GiB --virtual-vram clip=200MiB --donor-device disk --donor-device vae=cpu,disk --pin-blocks vae=disk,1";
        let (network, parts) = asked(flags, "").unwrap();
        assert_eq!((network.virtual_vram.to_string().as_str(), network.donors.as_slice()), ("4GiB", &[DeviceId::Disk][..]));
        assert_eq!(parts.of(Part::ClipL).virtual_vram.to_string(), "200MiB");
        let vae = parts.of(Part::Vae);
        assert_eq!((vae.donors, vae.pins.to_string()), (vec![DeviceId::Cpu, DeviceId::Disk], "disk,1".to_owned()));
    }

    #[test]
    fn a_profile_speaks_where_no_flag_does() {
        let profile = "virtual_vram_gb: 2\nparts:\n  clip: {virtual_vram_gb: 1, donor_device: [disk]}\n  vae: {virtual_vram_gb: auto}\n";
        let (network, parts) = asked("--virtual-vram clip=3GiB", profile).unwrap();
        assert_eq!(network.virtual_vram.to_string(), "2GiB");
        let clip = parts.of(Part::Clip);
        assert_eq!((clip.virtual_vram, clip.donors), (VirtualVram::AtLeast(Bytes::gib(3)), vec![DeviceId::Disk]));
        assert_eq!(parts.of(Part::Vae).virtual_vram.to_string(), "auto");
    }

    #[test]
    fn donors_with_nothing_to_take_are_told() {
        let idle = |flags: &str, profile: &str| all(flags, profile).unwrap().idle;
        let told = idle("--donor-device disk --donor-device vae=cpu --donor-device vae=disk --pin-blocks vae=disk,1", "");
        let begins = ["warning: --donor-device disk has nothing to take", "warning: --donor-device vae=cpu,disk has nothing to take"];
        assert!(told.len() == 2 && told.iter().zip(begins).all(|(told, begin)| told.starts_with(begin)), "{told:?}");
        assert!(told[1].contains("--virtual-vram vae=auto"), "{told:?}");
        assert_eq!(idle("--donor-device disk --virtual-vram 1GiB --donor-device clip=cpu --virtual-vram clip=auto", ""), [""; 0]);
        assert_eq!(idle("--donor-device disk", "virtual_vram_gb: auto\n"), [""; 0]);
        assert_eq!(idle("", "donor_device: [disk]\n"), [""; 0], "a profile's donors wait for an amount");
    }

    #[test]
    fn what_is_said_of_one_encoder_wins_over_what_is_said_of_all() {
        for (flags, profile) in [
            ("--virtual-vram clip=1MiB --virtual-vram clip_l=0B", ""),
            ("--virtual-vram clip_l=none", "parts:\n  clip: {virtual_vram_gb: 1}\n"),
            ("--virtual-vram clip=1MiB", "parts:\n  clip_l: {virtual_vram_gb: 0}\n"),
        ] {
            let (_, parts) = asked(flags, profile).unwrap();
            assert!(parts.of(Part::ClipL).is_nothing() && !parts.of(Part::T5).is_nothing(), "{flags} {profile}");
        }
        let (_, parts) = asked("--virtual-vram clip=1MiB", "parts:\n  clip_l: {}\n").unwrap();
        assert!(!parts.of(Part::ClipL).is_nothing(), "an empty entry says nothing");
    }

    #[test]
    fn a_flag_takes_the_place_of_a_profile_s_other_way() {
        let gpu = DeviceId::Cuda(0);
        let automatic = "virtual_vram_gb: auto\ndonor_device: [cuda:0]\nparts:\n  vae: {virtual_vram_gb: 1, donor_device: [disk]}\n";
        let (network, parts) = asked("--expert-mode-allocations cpu,1GiB;disk,* --expert-mode-allocations vae=auto", automatic).unwrap();
        let expert = |ask: &OffloadAsk| (ask.virtual_vram, ask.expert.as_ref().map(ToString::to_string), ask.donors.clone());
        assert_eq!(expert(&network), (VirtualVram::None, Some("cpu,1GiB;disk,*".to_owned()), Vec::new()));
        // The donor was no more typed than the amount was: it does not stand in the way of a device that computes.
        assert_eq!(network.check(gpu), Ok(()));
        assert_eq!(expert(&parts.of(Part::Vae)), (VirtualVram::None, Some("auto".to_owned()), vec![DeviceId::Disk]));

        let listed = "expert_mode_allocations: cpu,1GiB;disk,*\nparts:\n  vae: {expert_mode_allocations: auto}\n";
        let (network, parts) = asked("--virtual-vram 2GiB --virtual-vram vae=none", listed).unwrap();
        assert_eq!(expert(&network), (VirtualVram::AtLeast(Bytes::gib(2)), None, Vec::new()));
        assert!(parts.of(Part::Vae).is_nothing());

        for profile in [automatic, listed] {
            let (both, _) = asked("--virtual-vram 2GiB --expert-mode-allocations cpu,1GiB;disk,*", profile).unwrap();
            assert_eq!(both.check(gpu), Err(AskError::ExpertAndVirtual));
        }
    }

    #[test]
    fn a_full_string_is_read_as_the_tuner_reads_it() {
        let check = |flags: &str, expected: &str| {
            let profile = "virtual_vram_gb: auto\ndonor_device: [disk]\npin_blocks: disk,1\n";
            let Asked { network, compute, .. } = all(&format!("--expert-mode-allocations {flags}"), profile).unwrap();
            assert_eq!(network.pins.to_string(), "disk,1", "what it has no word for stays as it was");
            assert_eq!(FullAsk { compute: compute.unwrap(), ask: network }.to_string(), expected);
        };
        check("sim:0,1MiB;cpu,*#sim:0", "sim:0,1MiB;cpu,*#sim:0");
        check("#cuda:0;4.0;cuda:1,cpu", "#cuda:0;4GiB;cuda:1,cpu");
        check("#cuda:0", "#cuda:0");
        check("cuda:0,50%;cpu,*#cuda:0;4.0;cpu", "cuda:0,50%;cpu,*#cuda:0");
        let Asked { parts, compute, .. } = all("--expert-mode-allocations vae=#cuda:1;0.5;cpu", "").unwrap();
        assert_eq!((parts.of(Part::Vae).virtual_vram.to_string().as_str(), compute), ("512MiB", Some(DeviceId::Cuda(1))));
        let error = Cli::try_parse_from(["perilune", "run", "-m", "x", "--expert-mode-allocations", "vae=cpu,*#cuda:0;4"]).unwrap_err();
        assert!(error.to_string().contains("column 11: 2 fields stand after `#`"), "{error}");
    }

    #[test]
    fn what_contradicts_a_full_string_is_named() {
        let refused = |flags: &str| all(flags, "").unwrap_err().message;
        let full = "--expert-mode-allocations #cuda:0;4;cpu";
        let says = "beside `#cuda:0;4GiB;cpu`, which says how much leaves, and who takes it";
        assert_eq!(refused(&format!("{full} --virtual-vram 1GiB")), format!("--virtual-vram is given for denoiser {says}"));
        assert_eq!(refused(&format!("{full} --donor-device disk")), format!("--donor-device is given for denoiser {says}"));
        assert_eq!(
            refused(&format!("{full} --expert-mode-allocations vae=#cuda:1")),
            "`#cuda:1` in --expert-mode-allocations and `#cuda:0` name two devices that compute"
        );
        let other_part = all(&format!("{full} --virtual-vram vae=1MiB"), "").unwrap();
        assert_eq!(other_part.computes_on(Some(DeviceId::Cuda(0))), Ok(Some(DeviceId::Cuda(0))));
        assert_eq!(
            other_part.computes_on(Some(DeviceId::Cpu)).unwrap_err().message,
            "`#cuda:0` in --expert-mode-allocations and --compute-device cpu name two devices that compute"
        );
        assert_eq!(all("", "").unwrap().computes_on(Some(DeviceId::Cpu)), Ok(Some(DeviceId::Cpu)));
        // Two flags were typed by somebody, a slider behind a list was not.
        let both = all("--expert-mode-allocations cpu,*#cuda:0;4;cpu", "").unwrap();
        assert_eq!(both.network.check(DeviceId::Cuda(0)), Ok(()));
        let flags = all("--expert-mode-allocations cpu,* --virtual-vram 4GiB", "").unwrap();
        assert_eq!(flags.network.check(DeviceId::Cuda(0)), Err(AskError::ExpertAndVirtual));
    }

    #[test]
    fn nothing_is_said_twice() {
        let refused = |flags: &str| asked(flags, "").unwrap_err().message;
        assert_eq!(refused("--virtual-vram 1GiB --virtual-vram 2GiB"), "--virtual-vram is given twice for denoiser");
        assert_eq!(refused("--pin-blocks vae=cpu,1 --pin-blocks vae=disk,2"), "--pin-blocks is given twice for vae");
        let (_, parts) = asked("--donor-device vae=cpu --donor-device vae=disk", "parts:\n  vae: {donor_device: [disk]}\n").unwrap();
        assert_eq!(parts.of(Part::Vae).donors, [DeviceId::Cpu, DeviceId::Disk]);
    }
}
