//! What a preset says of where a part's weights live; the diffusion network's stand in the preset itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::misread::Misread;
use crate::placement::{Allocation, Expert, OffloadAsk, Part, Pins, VirtualVram};
use crate::units::DeviceId;

/// Where a part's weights live, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartPreset {
    /// How many gigabytes (GiB) of the part's weights leave the device that computes, or `auto`.
    #[serde(with = "super::as_gigabytes", skip_serializing_if = "Option::is_none")]
    pub virtual_vram_gb: Option<VirtualVram>,
    /// Who may take them.
    #[serde(deserialize_with = "super::as_donors::deserialize", skip_serializing_if = "Vec::is_empty")]
    pub donor_device: Vec<DeviceId>,
    /// How much of them goes where, instead of the two above; or all that the original says in one string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_mode_allocations: Option<Expert>,
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
            // Without a word nothing would be said of the part.
            virtual_vram_gb: Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None || ask == OffloadAsk::default()),
            donor_device: ask.donors,
            expert_mode_allocations: ask.expert.map(Expert::Alone),
            pin_blocks: Some(ask.pins).filter(|p| !p.is_empty()),
        }
    }

    /// Returns what it asks.
    #[must_use]
    pub fn ask(&self) -> OffloadAsk {
        let pins = self.pin_blocks.clone().unwrap_or_default();
        let said =
            OffloadAsk { virtual_vram: self.virtual_vram_gb.unwrap_or_default(), donors: self.donor_device.clone(), expert: None, pins };
        match self.expert_mode_allocations.clone() {
            Some(Expert::Full(full)) => OffloadAsk { pins: said.pins, ..full.ask },
            Some(Expert::Alone(allocation)) => OffloadAsk { expert: Some(allocation), ..said },
            None => said,
        }
    }

    /// Returns the device that computes, where a full string names it.
    #[must_use]
    pub fn computes_on(&self) -> Option<DeviceId> {
        match &self.expert_mode_allocations {
            Some(Expert::Full(full)) => Some(full.compute),
            Some(Expert::Alone(_)) | None => None,
        }
    }

    /// Returns this preset with the other's values where it has none. What it says of how much leaves takes the place of what the
    /// other says of it in the other way.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let (own, below) = (self.apart(), below.apart());
        let is_listed = matches!(own.expert_mode_allocations, Some(Expert::Alone(Allocation::Listed(_))));
        Self {
            donor_device: if own.donor_device.is_empty() && !is_listed { below.donor_device } else { own.donor_device },
            pin_blocks: own.pin_blocks.or(below.pin_blocks),
            expert_mode_allocations: match own.virtual_vram_gb {
                Some(_) => own.expert_mode_allocations.clone(),
                None => own.expert_mode_allocations.clone().or(below.expert_mode_allocations),
            },
            virtual_vram_gb: match own.expert_mode_allocations {
                Some(_) => own.virtual_vram_gb,
                None => own.virtual_vram_gb.or(below.virtual_vram_gb),
            },
        }
    }

    /// Returns the same with each part of a full string under the key that it has alone; who computes is no part's word.
    fn apart(self) -> Self {
        let Some(Expert::Full(full)) = self.expert_mode_allocations else { return self };
        let amount = Some(full.ask.virtual_vram).filter(|amount| full.ask.expert.is_none() || *amount != VirtualVram::None);
        Self {
            virtual_vram_gb: amount,
            donor_device: full.ask.donors,
            expert_mode_allocations: full.ask.expert.map(Expert::Alone),
            pin_blocks: self.pin_blocks,
        }
    }

    /// Finds what cannot stand beside a full string, which says all of it.
    fn beside_full(&self, keys: &[&str]) -> Option<Misread> {
        let Some(full @ Expert::Full(_)) = &self.expert_mode_allocations else { return None };
        let amount = self.virtual_vram_gb.map(|_| "virtual_vram_gb");
        let key = amount.or_else(|| (!self.donor_device.is_empty()).then_some("donor_device"))?;
        let keys: Vec<&str> = keys.iter().copied().chain([key]).collect();
        let problem = format!("stands beside `{full}`, which says how much leaves, and who takes it");
        Some(Misread::new(&keys, problem, format!("leave out {key}, or `#` and what follows")))
    }
}

/// Returns these presets with the others' values where they have none.
#[must_use]
pub fn over(above: PartPresets, mut below: PartPresets) -> PartPresets {
    for (part, preset) in above {
        let under = below.remove(&part).unwrap_or_default();
        below.insert(part, preset.over(under));
    }
    below.into_iter().map(|(part, preset)| (part, preset.apart())).collect()
}

/// Finds what contradicts a full string: of the network's preset, of another part's, or who computes as it is said by itself.
pub(super) fn contradiction(network: &PartPreset, parts: &PartPresets, compute: Option<DeviceId>) -> Option<Misread> {
    let named = parts.iter().map(|(part, preset)| (vec!["parts", part.name()], preset));
    let mut compute = compute.map(|device| (device, format!("compute_device {device}")));
    for (keys, preset) in [(Vec::new(), network)].into_iter().chain(named) {
        let beside = preset.beside_full(&keys);
        if beside.is_some() {
            return beside;
        }
        let Some(device) = preset.computes_on() else { continue };
        match &compute {
            Some((other, said)) if *other != device => {
                let keys: Vec<&str> = keys.into_iter().chain(["expert_mode_allocations"]).collect();
                let hint = "one device computes all parts: leave out one of the two, or `#` and what follows";
                return Some(Misread::new(&keys, format!("`#{device}` and {said} name two devices that compute"), hint));
            }
            Some(_) => {}
            None => compute = Some((device, format!("`#{device}`"))),
        }
    }
    None
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
