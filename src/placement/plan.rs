//! A placement, block by block, and what it adds up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::BlockTable;

/// Bytes on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The device.
    pub device: DeviceId,
    /// How much of it.
    pub bytes: Bytes,
}

/// Where every block of one component lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffloadPlan {
    /// The device that computes.
    pub compute: DeviceId,
    /// The home of each block, in order of execution.
    pub homes: Vec<DeviceId>,
}

impl OffloadPlan {
    /// Returns the plan that keeps every block where it is computed.
    #[must_use]
    pub fn all_resident(compute: DeviceId, table: &BlockTable) -> Self {
        Self { compute, homes: vec![compute; table.blocks().len()] }
    }

    /// Returns the home of a block.
    #[must_use]
    pub fn home(&self, block: BlockIndex) -> DeviceId {
        self.homes.get(block.0 as usize).copied().unwrap_or(self.compute)
    }

    /// Returns the blocks that live elsewhere than where they are computed with, in order of execution.
    #[must_use]
    pub fn streamed(&self) -> Vec<BlockIndex> {
        (0..).map(BlockIndex).zip(&self.homes).filter(|(_, home)| **home != self.compute).map(|(index, _)| index).collect()
    }

    /// Returns what each device holds, when block `i` takes `bytes[i]`.
    #[must_use]
    pub fn shares(&self, bytes: &[Bytes]) -> Vec<Share> {
        let mut sums: BTreeMap<DeviceId, Bytes> = BTreeMap::new();
        for (home, bytes) in self.homes.iter().zip(bytes) {
            *sums.entry(*home).or_default() += *bytes;
        }
        sums.into_iter().map(|(device, bytes)| Share { device, bytes }).collect()
    }
}

/// Returns the sums of several lists of shares, by device.
#[must_use]
pub fn total(lists: &[Vec<Share>]) -> Vec<Share> {
    let mut sums: BTreeMap<DeviceId, Bytes> = BTreeMap::new();
    for share in lists.iter().flatten() {
        *sums.entry(share.device).or_default() += share.bytes;
    }
    sums.into_iter().map(|(device, bytes)| Share { device, bytes }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_by_device() {
        let plan = OffloadPlan { compute: DeviceId::Cuda(0), homes: vec![DeviceId::Cuda(0), DeviceId::Cpu, DeviceId::Cuda(0)] };
        let shares = plan.shares(&[Bytes(1), Bytes(10), Bytes(100)]);
        assert_eq!(shares, [Share { device: DeviceId::Cuda(0), bytes: Bytes(101) }, Share { device: DeviceId::Cpu, bytes: Bytes(10) }]);
        assert_eq!(total(&[shares.clone(), shares])[0].bytes, Bytes(202));
    }
}
