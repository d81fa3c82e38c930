//! What a preset says of where a part's weights live; the diffusion network's stand in the preset itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::placement::{Allocation, OffloadAsk, Part, Pins, VirtualVram};
use crate::units::DeviceId;

/// Where a part's weights live, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartPreset {
    /// How many gigabytes (GiB) of the part's weights leave the device that computes, or `auto`.
    #[serde(with = "super::as_gigabytes", skip_serializing_if = "Option::is_none")]
    pub virtual_vram_gb: Option<VirtualVram>,
    /// Who takes them, the first first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub donor_device: Vec<DeviceId>,
    /// How much of them goes where, instead of the two above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_mode_allocations: Option<Allocation>,
    /// Blocks of them that must live on a certain device, whatever the others say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_blocks: Option<Pins>,
}

/// Parts by their names.
pub type PartPresets = BTreeMap<Part, PartPreset>;

impl PartPreset {
    /// Returns a preset that says the same as an ask.
    #[must_use]
    pub fn of(ask: OffloadAsk) -> Self {
        Self {
            virtual_vram_gb: Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None),
            donor_device: ask.donors,
            expert_mode_allocations: ask.expert,
            pin_blocks: Some(ask.pins).filter(|p| !p.is_empty()),
        }
    }

    /// Returns what it asks.
    #[must_use]
    pub fn ask(&self) -> OffloadAsk {
        OffloadAsk {
            virtual_vram: self.virtual_vram_gb.unwrap_or_default(),
            donors: self.donor_device.clone(),
            expert: self.expert_mode_allocations.clone(),
            pins: self.pin_blocks.clone().unwrap_or_default(),
        }
    }

    /// Returns this preset with the other's values where it has none.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            virtual_vram_gb: self.virtual_vram_gb.or(below.virtual_vram_gb),
            donor_device: if self.donor_device.is_empty() { below.donor_device } else { self.donor_device },
            expert_mode_allocations: self.expert_mode_allocations.or(below.expert_mode_allocations),
            pin_blocks: self.pin_blocks.or(below.pin_blocks),
        }
    }
}

/// Returns these presets with the others' values where they have none.
#[must_use]
pub fn over(above: PartPresets, mut below: PartPresets) -> PartPresets {
    for (part, preset) in above {
        let under = below.remove(&part).unwrap_or_default();
        below.insert(part, preset.over(under));
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Preset;
    use crate::units::Bytes;

    const TEXT: &str =
        "parts:\n  vae:\n    virtual_vram_gb: 0.5\n    donor_device: [disk]\n  clip:\n    expert_mode_allocations: cpu,1MiB;disk,*\n";

    #[test]
    fn a_part_has_the_keys_that_the_network_has() {
        let preset = Preset::parse(TEXT, "mine.yaml").unwrap();
        let vae = preset.parts[&Part::Vae].ask();
        assert_eq!((vae.virtual_vram, vae.donors.as_slice()), (VirtualVram::AtLeast(Bytes::mib(512)), &[DeviceId::Disk][..]));
        assert_eq!(preset.asks().of(Part::ClipL).expert, "cpu,1MiB;disk,*".parse().ok());
        assert_eq!(PartPreset::of(vae), preset.parts[&Part::Vae]);
        let written = preset.write();
        assert!(!written.contains("null") && !written.contains("pin_blocks"), "{written}");
        assert_eq!(Preset::parse(&written, "mine.yaml"), Ok(preset));
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, expected) in [
            ("parts:\n  text: {}\n", "unknown variant `text`"),
            ("parts:\n  vae:\n    virtual_vram: 1\n", "unknown field `virtual_vram`"),
            ("parts:\n  vae:\n    expert_mode_allocations: tape,*\n", "column 1: `tape` is not a device that holds weights"),
        ] {
            let message = Preset::parse(text, "mine.yaml").unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_lies_above_wins_part_by_part() {
        let below = Preset::parse(TEXT, "mine.yaml").unwrap();
        let above = Preset::parse("parts:\n  vae:\n    virtual_vram_gb: auto\n", "mine.yaml").unwrap();
        let both = above.over(below).parts;
        assert_eq!((both[&Part::Vae].virtual_vram_gb, both[&Part::Vae].donor_device.len()), (Some(VirtualVram::Auto), 1));
        assert!(both.contains_key(&Part::Clip));
    }
}
