//! What the original raises, and what can be wrong with a file of cases.

/// Why the original would have stopped instead of placing anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompatError {
    /// A text where it reads a number.
    #[error("`{text}` is no number")]
    NotANumber {
        /// The text.
        text: String,
    },
    /// The part after `#` has not three fields.
    #[error("`{text}` has {found} fields, not the three of `compute;gigabytes;donors`")]
    Fields {
        /// The part.
        text: String,
        /// How many it has.
        found: usize,
    },
    /// A device that the machine does not have.
    #[error("there is no device `{device}`")]
    UnknownDevice {
        /// Its name as written, blanks included.
        device: String,
    },
    /// A device that the machine does not have, on which something is to stay because it is computed there.
    #[error("what stays where it is computed has no device `{device}`")]
    UnknownCompute {
        /// Its name as written.
        device: String,
    },
    /// Ratios without a device.
    #[error("no device has a ratio")]
    NoEntries,
    /// Shares that add up to nothing.
    #[error("the shares add up to 0")]
    NoShares,
    /// A device without memory.
    #[error("the device `{device}` has no memory")]
    NoMemory {
        /// Its name.
        device: String,
    },
}

impl CompatError {
    /// Returns the name of what the original raises.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotANumber { .. } | Self::Fields { .. } => "ValueError",
            Self::UnknownDevice { .. } => "RuntimeError",
            Self::UnknownCompute { .. } => "KeyError",
            Self::NoEntries => "IndexError",
            Self::NoShares | Self::NoMemory { .. } => "ZeroDivisionError",
        }
    }
}

/// What is wrong with a file of cases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CasesError {
    /// It is no JSON, or JSON of another shape.
    #[error("not a file of placement cases: {reason}")]
    Shape {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A case names a model that the file does not describe.
    #[error("case `{case}` is about the model `{model}`, which the file does not describe")]
    NoModel {
        /// The case.
        case: String,
        /// The model.
        model: String,
    },
    /// Two blocks that no expected result could tell apart.
    #[error("the model `{model}` has two blocks `{block}`")]
    TwoBlocks {
        /// The model.
        model: String,
        /// Their name.
        block: String,
    },
    /// A case expects an outcome and an error.
    #[error("case `{case}` expects both a placement and an error")]
    TwoOutcomes {
        /// The case.
        case: String,
    },
    /// An allocation that nobody has typed.
    #[error("the allocation of case `{case}` is longer than {limit} bytes")]
    LongAllocation {
        /// The case.
        case: String,
        /// The most there may be.
        limit: usize,
    },
    /// More bytes than any memory has.
    #[error("the sizes that case `{case}` speaks of add up to more than {limit} bytes")]
    TooManyBytes {
        /// The case.
        case: String,
        /// The most there may be.
        limit: u64,
    },
    /// More to work out than a file of cases needs.
    #[error("the cases are too many: their blocks times their devices are more than {limit}")]
    TooMuch {
        /// The most there may be.
        limit: u64,
    },
}

impl CasesError {
    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "give a JSON object with `models`, lists of blocks by name, and `examples`",
            Self::NoModel { .. } => "describe the model under `models`, or mend its name",
            Self::TwoBlocks { .. } => "give each block of a model a name of its own",
            Self::TwoOutcomes { .. } => "leave out `expected` or `error`",
            Self::LongAllocation { .. } | Self::TooManyBytes { .. } => "mend the case, or leave it out",
            Self::TooMuch { .. } => "cut the file into several",
        }
    }
}
