//! Ways in which numbers cannot be stored or read.

use crate::weights::DType;

/// Why a codec refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantError {
    /// The type has no codec here.
    #[error("{dtype} holds no numbers that can be converted")]
    NoCodec {
        /// The type.
        dtype: DType,
    },
    /// Bytes and numbers do not belong together.
    #[error("{values} numbers of {dtype} do not lie in {bytes} bytes")]
    Length {
        /// The type.
        dtype: DType,
        /// How many numbers.
        values: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// A part of quantised weights has a length that does not belong to the rest.
    #[error("{what} has {found} elements where {expected} belong")]
    Part {
        /// Which part.
        what: &'static str,
        /// How many it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// Numbers that are quantised together have to fill groups.
    #[error("{values} numbers do not fill groups of {group}")]
    Group {
        /// How many numbers.
        values: usize,
        /// How many make a group.
        group: usize,
    },
    /// What a file says of its quantised weights is not what the format says.
    #[error("{what} of quantised weights: `{found}` is not {expected}")]
    Described {
        /// Which field.
        what: &'static str,
        /// What was found.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Tensors that should make one weight do not fit together.
    #[error("`{tensor}`: {found} where {expected} belong")]
    Stored {
        /// The weight, or what is missing.
        tensor: String,
        /// What was found.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A description lacks a field that nothing else tells.
    #[error("the description of quantised weights has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
}

/// Refuses a part that has not as many elements as belong.
pub(super) fn part(what: &'static str, expected: usize, found: usize) -> Result<(), QuantError> {
    if expected == found { Ok(()) } else { Err(QuantError::Part { what, expected, found }) }
}
