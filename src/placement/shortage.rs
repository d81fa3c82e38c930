//! Why there is no placement: which device, how many bytes, and what would help.

use crate::units::{BlockIndex, Bytes, DeviceId};

/// A request that nothing can meet. Nothing is ever kept on the compute device instead without a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// What must stay on the compute device is more than it may hold.
    #[error("keep the pinned weights on {device}: {missing} over what it may hold")]
    Pinned {
        /// The compute device.
        device: DeviceId,
        /// What its share lacks.
        missing: Bytes,
    },
    /// Pinned weights and staging memory leave too little, whichever blocks stream.
    #[error("stage weights on {device}: {missing} short beside what must stay there")]
    Staging {
        /// The compute device.
        device: DeviceId,
        /// What the most frugal arrangement lacks.
        missing: Bytes,
    },
    /// A block does not pass through the ring, and without it too little can leave.
    #[error("move block {block} off {device}: the staging ring is {missing} too small for it")]
    Ring {
        /// The compute device.
        device: DeviceId,
        /// The largest block.
        block: BlockIndex,
        /// What the ring lacks to take it.
        missing: Bytes,
    },
    /// Nothing is there to take weights.
    #[error("move {missing} of weights off {device}: no other device may hold them")]
    NoDonor {
        /// The compute device.
        device: DeviceId,
        /// What must leave it.
        missing: Bytes,
    },
    /// The donors together are too small.
    #[error("place weights beyond {device}, the last donor: {missing} have no room anywhere")]
    Donors {
        /// The donor that is asked last.
        device: DeviceId,
        /// What has no room.
        missing: Bytes,
    },
    /// There is room in sum, but it lies in pieces that blocks do not fit.
    #[error("fit whole blocks into what is left up to {device}, the last donor: {missing} must leave")]
    Pieces {
        /// The donor that is asked last.
        device: DeviceId,
        /// What had to leave the compute device.
        missing: Bytes,
    },
    /// What is pinned to a donor is more than it may hold.
    #[error("keep what is pinned to {device} there: {missing} over what it may hold")]
    PinnedAway {
        /// The donor.
        device: DeviceId,
        /// What its share lacks.
        missing: Bytes,
    },
    /// A donor whose speed is not known cannot be planned with.
    #[error("plan with {device}: its link has no speed; {missing} of room lie behind it")]
    Unmeasured {
        /// The donor.
        device: DeviceId,
        /// What it could hold.
        missing: Bytes,
    },
}

impl Shortage {
    /// Returns the device that falls short.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        match self {
            Self::Pinned { device, .. }
            | Self::Staging { device, .. }
            | Self::Ring { device, .. }
            | Self::NoDonor { device, .. }
            | Self::Donors { device, .. }
            | Self::Pieces { device, .. }
            | Self::PinnedAway { device, .. }
            | Self::Unmeasured { device, .. } => *device,
        }
    }

    /// Returns the bytes that it falls short of.
    #[must_use]
    pub fn missing(&self) -> Bytes {
        match self {
            Self::Pinned { missing, .. }
            | Self::Staging { missing, .. }
            | Self::Ring { missing, .. }
            | Self::NoDonor { missing, .. }
            | Self::Donors { missing, .. }
            | Self::Pieces { missing, .. }
            | Self::PinnedAway { missing, .. }
            | Self::Unmeasured { missing, .. } => *missing,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Pinned { device, missing } => format!("allow {device} {missing} more: these weights are used there in every pass"),
            Self::Staging { device, missing } => format!("free {missing} of {device}, or allow it so much more"),
            Self::Ring { device, block: _, missing } => {
                format!("free {missing} of {device}, or allow it so much more: blocks pass through it")
            }
            Self::NoDonor { device, missing } => format!("name a donor with {missing} of room, such as cpu, or let {device} keep more"),
            Self::Donors { device, missing } => format!("give {device} or another donor {missing} more, add a donor, or free less"),
            Self::Pieces { device, missing: _ } => format!("give {device} room for one more block, or free less"),
            Self::PinnedAway { device, missing } => format!("give {device} {missing} more, or unpin blocks"),
            Self::Unmeasured { device, missing: _ } => format!("measure the link to {device}, or leave it out"),
        }
    }
}
