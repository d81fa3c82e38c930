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
}
