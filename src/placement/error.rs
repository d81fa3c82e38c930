//! What can be wrong with an allocation, an ask, or a budget.

use super::decimal::Decimal;
use super::part::Part;
use crate::units::{BlockIndex, Bytes, DeviceId};

/// What is wrong with an allocation's text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct AllocationError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What.
    pub problem: Problem,
    /// What to do about it.
    pub hint: &'static str,
}

/// What can be wrong with an allocation's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing where a device and a value should be.
    #[error("nothing stands here")]
    Empty,
    /// A device alone.
    #[error("`{device}` has no value")]
    NoValue {
        /// The device as typed.
        device: String,
    },
    /// A name that is none of a device.
    #[error("`{text}` is not a device that holds weights")]
    UnknownDevice {
        /// The name.
        text: String,
    },
    /// A name that is kept for later.
    #[error("`{text}` cannot hold weights yet")]
    Reserved {
        /// The name.
        text: String,
    },
    /// A device that was named before.
    #[error("`{device}` is named twice")]
    Duplicate {
        /// The device.
        device: DeviceId,
    },
    /// Digits are missing or wrong.
    #[error("`{text}` is not an amount")]
    NotANumber {
        /// The value as typed.
        text: String,
    },
    /// A unit that is none of ours.
    #[error("`{unit}` is not a unit")]
    UnknownUnit {
        /// The unit as typed.
        unit: String,
    },
    /// A number that needs a unit.
    #[error("`{text}` has no unit")]
    NoUnit {
        /// The number.
        text: String,
    },
    /// A device to which nothing is pinned.
    #[error("`{device}` has no blocks")]
    NoBlocks {
        /// The device as typed.
        device: String,
    },
    /// A block that is none.
    #[error("`{text}` is no number of a block, and no range of them")]
    NotABlock {
        /// What was typed.
        text: String,
    },
    /// A block that was pinned before.
    #[error("block {block} is pinned twice")]
    PinnedTwice {
        /// The block.
        block: BlockIndex,
    },
    /// More than can be counted.
    #[error("`{text}` is larger than any memory")]
    TooLarge {
        /// The value as typed.
        text: String,
    },
    /// Values of two kinds.
    #[error("this is {found}, but what stands before it is {first}")]
    MixedUnits {
        /// What the first value is.
        first: &'static str,
        /// What this one is.
        found: &'static str,
    },
    /// A second device that takes the rest.
    #[error("the rest goes to `{device}` already")]
    SeveralRests {
        /// The first.
        device: DeviceId,
    },
    /// A star and something else.
    #[error("`{text}` is an amount and the rest at once")]
    BesideRest {
        /// The value as typed.
        text: String,
    },
    /// More of a device than there is.
    #[error("{share} of a device is more than all of it")]
    OverOne {
        /// The fraction.
        share: Decimal,
    },
    /// More than all, and something takes the rest.
    #[error("the shares add up to more than 100%, so that there is no rest")]
    OverHundred,
    /// Shares that add up to nothing.
    #[error("the shares add up to 0%")]
    NoShares,
    /// A part that no model has.
    #[error("`{text}` is no part of a model")]
    UnknownPart {
        /// The name as typed.
        text: String,
    },
    /// A part of which something was said before.
    #[error("something is said of {part} twice")]
    PartTwice {
        /// The part.
        part: Part,
    },
    /// No `#` where one is needed.
    #[error("the device that computes is missing")]
    NoCompute,
    /// Neither one field after `#` nor three.
    #[error("{found} fields stand after `#`")]
    Fields {
        /// How many.
        found: usize,
    },
}

impl Problem {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::NoValue { .. } => "write a device, a comma and an amount, such as `cuda:1,4GiB`; `;` stands between two",
            Self::UnknownDevice { .. } => "use cpu, cuda:N, disk or sim:N; `perilune devices` shows what there is",
            Self::Reserved { .. } => "use cpu, cuda:N, disk or sim:N; the file that a model comes from is `disk`",
            Self::NoBlocks { .. } | Self::NotABlock { .. } => "write blocks behind the device, such as `disk,3-7+12`",
            Self::PinnedTwice { .. } => "pin each block once",
            Self::Duplicate { .. } => "name each device once",
            Self::NotANumber { .. } => "write digits and a unit, such as `2.5GiB`, a share such as `40%`, or `*` for the rest",
            Self::UnknownUnit { .. } => "use B, KiB, MiB, GiB, TiB, or % of the model; KB and K are KiB here, and so on",
            Self::NoUnit { .. } => "write one, such as `4GiB`",
            Self::TooLarge { .. } => "write a smaller amount, or `*` for all that is left",
            Self::MixedUnits { .. } => {
                "write all amounts as bytes, all in %, or all as fractions of the devices' memory; `*` goes with each"
            }
            Self::SeveralRests { .. } => "write `*` once",
            Self::BesideRest { .. } => "write `*` alone, or the amount alone",
            Self::OverOne { .. } => "a number without a unit is a fraction of the device's memory; write `GiB` or `%` behind it",
            Self::OverHundred => "make the shares smaller, or leave out `*`",
            Self::NoShares => "give at least one device a share",
            Self::UnknownPart { .. } => "use clip, clip_l, clip_g, t5, qwen or vae; what stands alone is about the diffusion network",
            Self::PartTwice { .. } => "name each part once",
            Self::NoCompute => "end the text with it, such as `#cuda:0`",
            Self::Fields { .. } => "write `#<compute>` or `#<compute>;<gigabytes>;<donors>`, such as `#cuda:0;4.0;cpu`",
        }
    }
}

/// What is wrong with an ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// A device that holds bytes but computes nothing.
    #[error("{device} cannot compute")]
    CannotCompute {
        /// The device.
        device: DeviceId,
    },
    /// A device that holds no weights.
    #[error("{device} cannot hold weights")]
    CannotHold {
        /// The device.
        device: DeviceId,
    },
    /// A device is to relieve itself.
    #[error("{device} computes, so it cannot be a donor, too")]
    ComputeIsDonor {
        /// The device.
        device: DeviceId,
    },
    /// A donor is named twice.
    #[error("the donor {device} is named twice")]
    DonorTwice {
        /// The device.
        device: DeviceId,
    },
    /// A device that is simulated is to give memory to one that is not.
    #[error("{device} is simulated, so it cannot hold weights for {compute}")]
    SimulatedDonor {
        /// The device.
        device: DeviceId,
        /// The device that computes.
        compute: DeviceId,
    },
    /// Two ways to say how much goes where.
    #[error("virtual VRAM and an expert allocation cannot both decide what goes where")]
    ExpertAndVirtual,
    /// A block is pinned that the model has not.
    #[error("block {block} is pinned, but the last block is {last}")]
    NoBlock {
        /// The block.
        block: BlockIndex,
        /// The last one there is.
        last: BlockIndex,
    },
    /// A block is pinned elsewhere that is used where it is computed in every pass.
    #[error("block {block} never leaves the device that computes, so it cannot be pinned to {device}")]
    NeverLeaves {
        /// The block.
        block: BlockIndex,
        /// Where it was to live.
        device: DeviceId,
    },
}

impl AskError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::CannotCompute { .. } => "compute on cuda:N, cpu or sim:N",
            Self::CannotHold { .. } => "use cpu, cuda:N, disk or sim:N",
            Self::ComputeIsDonor { device: DeviceId::Cpu } => "name disk, or nobody: the processor takes weights from there",
            Self::ComputeIsDonor { .. } => "name another donor, such as cpu or disk",
            Self::DonorTwice { .. } => "name each donor once",
            Self::SimulatedDonor { .. } => "compute on a simulated GPU, too, or name another donor",
            Self::NoBlock { .. } | Self::NeverLeaves { .. } => "unpin it; `perilune plan` lists the blocks",
            Self::ExpertAndVirtual => "leave out one of the two; ComfyUI-MultiGPU listens to the expert allocation",
        }
    }
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The ask itself is wrong.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A device of which nothing is known.
    #[error("there is no device {device} here")]
    Absent {
        /// The device.
        device: DeviceId,
    },
    /// The device that computes has too little room for what stays there.
    #[error("{needed} of weights stay on {device}, which has room for {capacity}: {} bytes are missing", missing.get())]
    Compute {
        /// The device.
        device: DeviceId,
        /// What is to stay there.
        needed: Bytes,
        /// What of it never leaves.
        fixed: Bytes,
        /// What there is room for.
        capacity: Bytes,
        /// What is missing.
        missing: Bytes,
    },
    /// The others have too little room for what leaves it.
    #[error("{needed} of weights leave {compute}, but {} can take only {taken}: {} bytes are missing", names(devices), missing.get())]
    Donors {
        /// The device that computes.
        compute: DeviceId,
        /// The others.
        devices: Vec<DeviceId>,
        /// What is to leave.
        needed: Bytes,
        /// What they take.
        taken: Bytes,
        /// What is missing.
        missing: Bytes,
    },
}

fn names(devices: &[DeviceId]) -> String {
    let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
    if names.is_empty() { "other devices".to_owned() } else { names.join(", ") }
}

impl BudgetError {
    /// Returns the device that is to blame, if there is one.
    #[must_use]
    pub fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Ask(error) => match error {
                AskError::CannotCompute { device }
                | AskError::CannotHold { device }
                | AskError::ComputeIsDonor { device }
                | AskError::DonorTwice { device }
                | AskError::SimulatedDonor { device, .. } => Some(*device),
                AskError::ExpertAndVirtual | AskError::NoBlock { .. } | AskError::NeverLeaves { .. } => None,
            },
            Self::Absent { device } | Self::Compute { device, .. } => Some(*device),
            Self::Donors { devices, .. } => devices.last().copied(),
        }
    }

    /// Returns the bytes that have no place.
    #[must_use]
    pub fn missing(&self) -> Option<Bytes> {
        match self {
            Self::Ask(_) | Self::Absent { .. } => None,
            Self::Compute { missing, .. } | Self::Donors { missing, .. } => Some(*missing),
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Ask(error) => error.hint().to_owned(),
            Self::Absent { .. } => "`perilune devices` shows what there is".to_owned(),
            Self::Compute { device, fixed, capacity, .. } if fixed > capacity => {
                let missing = (*fixed - *capacity).get();
                format!("free {missing} bytes of {device}, or compute on another device: what lies in no block never leaves it")
            }
            Self::Compute { missing, .. } => format!("let {} bytes more leave it, or let virtual VRAM be `auto`", missing.get()),
            Self::Donors { .. } => {
                "name another donor after these, such as cpu or disk, or let a device take the rest: `disk,*`".to_owned()
            }
        }
    }
}
