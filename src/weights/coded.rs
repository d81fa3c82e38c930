//! Weights that are stored in fewer bits than they are computed with: what their bytes mean, and what belongs to them.

use super::TensorEntry;

/// How numbers are to be had from bytes that are no plain floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// They belong to another weight, and mean nothing alone.
    Part,
    /// Floats of 8 bits, times a scale where there is one.
    Float8,
    /// Blocks of ggml, of the entry's type.
    Blocks,
    /// bitsandbytes' four bits. Beside them: absmax, its own absmax and codebook where it is nested, and the codebook where
    /// the file brings one.
    FourBit {
        /// The codes are those of FP4, and of NF4 otherwise.
        fp4: bool,
        /// Numbers that share a scale.
        block: u64,
        /// Scales that share one, and the bits of the single that is added to each, where they are nested.
        nested: Option<(u64, u32)>,
    },
    /// bitsandbytes' integers of 8 bits, with a scale for each row beside them.
    Rows8,
    /// SDNQ's codes. Beside them: scale, then zero point and factors of low rank as far as there are any.
    Sdnq(Sdnq),
}

/// Versions of SDNQ that read the same codes differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    /// Before 0.2.1.
    First,
    /// Of 0.2.1: rotations use the matrix of order 4 where they can.
    Rotations,
    /// Since 0.2.2: floats without a type of their own have subnormals, too.
    Subnormals,
}

/// How codes of SDNQ are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdnq {
    /// The name of their type.
    pub kind: String,
    /// Which versions of SDNQ read them so.
    pub era: Era,
    /// Scales are levels of a codebook.
    pub codebook: bool,
    /// There is a zero point.
    pub has_zero_point: bool,
    /// There are factors of low rank, and whether they may be stored with their extents exchanged.
    pub low_rank: Option<bool>,
    /// How many numbers are rotated together.
    pub rotated: Option<u64>,
}

/// What is known of such a weight. The entry's shape is that of its numbers; its bytes are the stored ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// How its bytes are read.
    pub code: Code,
    /// The tensors that belong to it, in the code's order; each is a [`Code::Part`].
    pub beside: Vec<TensorEntry>,
}

impl Coded {
    /// Returns the mark of a weight that needs nothing beside it.
    #[must_use]
    pub fn alone(code: Code) -> Option<Box<Self>> {
        Some(Box::new(Self { code, beside: Vec::new() }))
    }
}
