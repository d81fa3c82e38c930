//! What is asked to be offloaded of each part: the flags, over a profile's words.

use std::fmt::Display;

use super::part_args::OffloadArgs;
use crate::placement::{Allocation, OfPart, OffloadAsk, Part, PartAsks, VirtualVram};
use crate::profile::Preset;
use crate::workflow::{Kind, Refusal};

/// Returns what is asked of the diffusion network and of the other parts, with a profile's words where the flags say nothing.
pub fn offload(args: OffloadArgs, preset: &Preset) -> Result<(OffloadAsk, PartAsks), Refusal> {
    let OffloadArgs { virtual_vram, donor_device, expert_mode_allocations, pin_blocks } = args;
    once(&virtual_vram, "--virtual-vram")?;
    once(&expert_mode_allocations, "--expert-mode-allocations")?;
    once(&pin_blocks, "--pin-blocks")?;
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
            // Nobody takes what is listed device by device.
            if matches!(value, Allocation::Listed(_)) {
                ask.donors.clear();
            }
            ask.expert = Some(value);
        });
    }
    // Donors may be listed in one flag or in several; a profile's do not stand before them.
    for named in &donor_device {
        asks.edit(named.part, |ask| ask.donors.clear());
    }
    for OfPart { part, value } in donor_device {
        asks.edit(part, |ask| ask.donors.extend(value.0));
    }
    for OfPart { part, value } in pin_blocks {
        asks.edit(part, |ask| ask.pins = value);
    }
    Ok((asks.take(Part::Denoiser), asks))
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
    use crate::placement::AskError;
    use crate::units::{Bytes, DeviceId};

    fn asked(flags: &str, profile: &str) -> Result<(OffloadAsk, PartAsks), Refusal> {
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
    fn nothing_is_said_twice() {
        let refused = |flags: &str| asked(flags, "").unwrap_err().message;
        assert_eq!(refused("--virtual-vram 1GiB --virtual-vram 2GiB"), "--virtual-vram is given twice for denoiser");
        assert_eq!(refused("--pin-blocks vae=cpu,1 --pin-blocks vae=disk,2"), "--pin-blocks is given twice for vae");
        let (_, parts) = asked("--donor-device vae=cpu --donor-device vae=disk", "parts:\n  vae: {donor_device: [disk]}\n").unwrap();
        assert_eq!(parts.of(Part::Vae).donors, [DeviceId::Cpu, DeviceId::Disk]);
    }
}
