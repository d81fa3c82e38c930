//! Ways in which only a GGUF file can be wrong; what it shares with other weight files is in [`FormatError`](super::FormatError).

/// What is wrong with a GGUF file's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("the file does not start with `GGUF`")]
    NoMagic,
    /// Numbers are stored from their large end.
    #[error("the file was written for big-endian machines, which is not supported")]
    BigEndian,
    /// Version 1, whose lengths have 32 bits.
    #[error("the file is of GGUF version 1, which is not supported")]
    VersionOne,
    /// A version that nobody has defined yet.
    #[error("the file is of GGUF version {version}; 2 and 3 are supported")]
    UnknownVersion {
        /// The version it claims.
        version: u32,
    },
    /// The file ends within its header.
    #[error("the file ends inside its header, at byte {at}, where {what} should be: it is truncated")]
    Truncated {
        /// Where the missing bytes begin.
        at: u64,
        /// What they are.
        what: &'static str,
    },
    /// The header goes on for longer than any real one.
    #[error("the header is longer than {limit} bytes")]
    HeaderTooLarge {
        /// The most we accept.
        limit: u64,
    },
    /// More tensors or values than the rest of the file could describe.
    #[error("the header claims {claimed} {what}, but the {room} bytes after it hold at most {most}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many it claims.
        claimed: u64,
        /// Bytes that are left.
        room: u64,
        /// How many of the smallest kind fit into them, or are allowed at all.
        most: u64,
    },
    /// A text that is longer than the rest of the file.
    #[error("{what} claims {length} bytes, but {room} are left in the file")]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// The length it claims.
        length: u64,
        /// Bytes that are left.
        room: u64,
    },
    /// A text that is no text.
    #[error("{what} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Which text.
        what: &'static str,
        /// Its first byte in the file.
        at: u64,
    },
    /// A value without a name.
    #[error("a value has an empty key")]
    EmptyKey,
    /// Two values share a key.
    #[error("the key `{key}` is listed twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A type of values that nobody has defined.
    #[error("the value of `{key}` has the unknown type {number}")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type's number.
        number: u32,
    },
    /// A truth value that is neither.
    #[error("the value of `{key}` is neither true nor false but {byte}")]
    BadBool {
        /// The key.
        key: String,
        /// What it is.
        byte: u8,
    },
    /// An array of arrays.
    #[error("the value of `{key}` is an array of arrays, which is not supported")]
    NestedArray {
        /// The key.
        key: String,
    },
    /// An array that claims more elements than the rest of the file could hold.
    #[error("the array `{key}` claims {count} elements, but {room} bytes are left in the file")]
    ArrayTooLong {
        /// The key.
        key: String,
        /// How many it claims.
        count: u64,
        /// Bytes that are left.
        room: u64,
    },
    /// A value that has another type than its key asks for.
    #[error("the value of `{key}` is {found}, not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// An alignment that is no power of two.
    #[error("tensors are said to be aligned to {alignment} bytes, which is no power of two")]
    BadAlignment {
        /// The alignment.
        alignment: u32,
    },
    /// A number that stands for no element type.
    #[error("tensor `{tensor}` has the unknown type {number}")]
    UnknownType {
        /// Its name.
        tensor: String,
        /// The type's number.
        number: u32,
    },
    /// An element type of ggml without a codec here.
    #[error("tensor `{tensor}` is stored as {name}, which is not supported")]
    UnsupportedType {
        /// Its name.
        tensor: String,
        /// ggml's name of the type.
        name: &'static str,
    },
    /// Rows that end within a block.
    #[error("tensor `{tensor}` has rows of {row} numbers, which are no whole blocks of {block}")]
    PartialBlocks {
        /// Its name.
        tensor: String,
        /// Numbers of a row.
        row: u64,
        /// Numbers of a block.
        block: u64,
    },
    /// A tensor that does not begin where the one before it ends.
    #[error("tensor `{tensor}` is at {found} of the data, but the tensors before it end at {expected}")]
    OutOfPlace {
        /// Its name.
        tensor: String,
        /// Where it claims to be.
        found: u64,
        /// Where it must be.
        expected: u64,
    },
    /// A recorded shape that the tensor does not fill.
    #[error("the recorded shape {shape} of tensor `{tensor}` is not that of its {elements} numbers")]
    BadOriginalShape {
        /// Its name.
        tensor: String,
        /// The shape as written.
        shape: String,
        /// How many numbers there are.
        elements: u64,
    },
    /// A type that GGUF files cannot hold.
    #[error("tensor `{tensor}` of type {dtype} cannot be stored in a GGUF file")]
    Unwritable {
        /// Its name.
        tensor: String,
        /// The type.
        dtype: crate::weights::DType,
    },
}

impl GgufError {
    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "download or copy the file again; the transfer did not finish",
            Self::BigEndian | Self::VersionOne | Self::UnknownVersion { .. } => "get a version of the model that was converted lately",
            Self::UnsupportedType { .. } => "get another precision of the model, for example Q4_K_M or Q8_0",
            Self::Unwritable { .. } => "convert it to another precision",
            Self::TooMany { .. } | Self::TextTooLong { .. } | Self::ArrayTooLong { .. } => {
                "the file is cut short, damaged or was made to do harm; get it again from its source"
            }
            Self::NoMagic
            | Self::HeaderTooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::EmptyKey
            | Self::DuplicateKey { .. }
            | Self::UnknownValueType { .. }
            | Self::BadBool { .. }
            | Self::NestedArray { .. }
            | Self::WrongType { .. }
            | Self::BadAlignment { .. }
            | Self::UnknownType { .. }
            | Self::PartialBlocks { .. }
            | Self::OutOfPlace { .. }
            | Self::BadOriginalShape { .. } => "the file is damaged or was made to do harm; get it again from its source",
        }
    }
}
