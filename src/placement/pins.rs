//! Blocks that must live on a certain device, whatever else is wished.
//!
//! ```text
//! disk,3-7+12;cpu,0        blocks 3 to 7 and 12 on the disk, the first one on the processor
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{AllocationError, Problem};
use super::span::Span;
use crate::units::{BlockIndex, DeviceId};

/// No model has so many blocks; a longer range would only take memory.
const MOST: u32 = 100_000;

/// Blocks and the devices that they must live on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<BlockIndex, DeviceId>);

impl Pins {
    /// Returns whether no block is pinned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns where a block must live, if it must.
    #[must_use]
    pub fn of(&self, block: BlockIndex) -> Option<DeviceId> {
        self.0.get(&block).copied()
    }

    /// Pins a block, wherever it was pinned before.
    pub fn pin(&mut self, block: BlockIndex, device: DeviceId) {
        self.0.insert(block, device);
    }

    /// Lets a block live anywhere again.
    pub fn unpin(&mut self, block: BlockIndex) {
        self.0.remove(&block);
    }

    /// Returns every pinned block, in order.
    pub fn iter(&self) -> impl Iterator<Item = (BlockIndex, DeviceId)> + '_ {
        self.0.iter().map(|(block, device)| (*block, *device))
    }

    /// Returns the devices that blocks are pinned to, each once.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceId> {
        let devices: BTreeSet<DeviceId> = self.0.values().copied().collect();
        devices.into_iter().collect()
    }
}

impl FromStr for Pins {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        let whole = Span::whole(text);
        let mut pins = BTreeMap::new();
        if whole.text.is_empty() {
            return Ok(Self(pins));
        }
        for entry in whole.split(';') {
            let Some((name, blocks)) = entry.split_once(',') else {
                let device = entry.text.to_owned();
                return Err(entry.error(if device.is_empty() { Problem::Empty } else { Problem::NoBlocks { device } }));
            };
            let device = name.device()?;
            for run in blocks.split('+') {
                let (first, last) = range(run)?;
                for block in (first..=last).map(BlockIndex) {
                    if pins.insert(block, device).is_some() {
                        return Err(run.error(Problem::PinnedTwice { block }));
                    }
                }
            }
        }
        Ok(Self(pins))
    }
}

/// Reads `7` or `3-7`.
fn range(span: Span<'_>) -> Result<(u32, u32), AllocationError> {
    let number = |part: Span<'_>| {
        let wrong = || part.error(Problem::NotABlock { text: part.text.to_owned() });
        let digits = part.text.chars().all(|c| c.is_ascii_digit());
        if digits { part.text.parse().ok().filter(|n| *n < MOST).ok_or_else(wrong) } else { Err(wrong()) }
    };
    let Some((first, last)) = span.split_once('-') else { return number(span).map(|block| (block, block)) };
    let (from, to) = (number(first)?, number(last)?);
    if to < from { Err(span.error(Problem::NotABlock { text: span.text.to_owned() })) } else { Ok((from, to)) }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = |device: DeviceId| {
            let mut runs: Vec<(u32, u32)> = Vec::new();
            for block in self.iter().filter(|(_, home)| *home == device).map(|(block, _)| block.0) {
                match runs.last_mut() {
                    Some((_, last)) if *last + 1 == block => *last = block,
                    _ => runs.push((block, block)),
                }
            }
            let runs = runs.into_iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
            format!("{device},{}", runs.collect::<Vec<_>>().join("+"))
        };
        f.pad(&self.devices().into_iter().map(entry).collect::<Vec<_>>().join(";"))
    }
}

impl Serialize for Pins {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_and_lists_have_one_canonical_form() {
        for (text, canonical) in
            [("disk,3", "disk,3"), (" cpu , 7 + 3-5 ; disk , 6 ", "cpu,3-5+7;disk,6"), ("disk,1+2+3;disk,9", "disk,1-3+9"), ("", "")]
        {
            let pins: Pins = text.parse().unwrap();
            // The order of devices is that of their kinds.
            let mut parts: Vec<String> = pins.to_string().split(';').map(ToOwned::to_owned).collect();
            parts.sort();
            assert_eq!(parts.join(";"), canonical, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_pointed_at() {
        for (text, message) in [
            ("disk", "column 1: `disk` has no blocks"),
            ("disk,", "column 6: `` is no number of a block, and no range of them"),
            ("disk,7-3", "column 6: `7-3` is no number of a block, and no range of them"),
            ("disk,-3", "column 6: `` is no number of a block, and no range of them"),
            ("disk,4294967295", "column 6: `4294967295` is no number of a block, and no range of them"),
            ("disk,1-4;cpu,3", "column 14: block 3 is pinned twice"),
            ("tape,1", "column 1: `tape` is not a device that holds weights"),
            ("disk,1;", "column 8: nothing stands here"),
        ] {
            let error = text.parse::<Pins>().unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
            assert!(!error.hint.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(cpu|disk|cuda:1|,|;|\\+|-|[0-9]{1,3}| ){0,12}") {
            if let Ok(pins) = text.parse::<Pins>() {
                prop_assert_eq!(pins.to_string().parse(), Ok(pins));
            }
        }
    }
}
