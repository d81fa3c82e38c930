//! Every way in which a weight file can be wrong.

use super::gguf_error::GgufError;
use crate::units::Bytes;
use crate::weights::Shape;

/// What is wrong with a weight file. Offsets count from the start of the data, as headers do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Fewer bytes than a header's length takes.
    #[error("the file ends after {found} bytes, inside the 8 that give the header's length")]
    TooShort {
        /// Its length.
        found: u64,
    },
    /// The header claims more than any real one has.
    #[error("the header claims {claimed} bytes; at most {limit} are allowed")]
    HeaderTooLarge {
        /// The length it claims.
        claimed: u64,
        /// The most we accept.
        limit: u64,
    },
    /// The header runs past the end of the file.
    #[error("the header claims {claimed} bytes but the file has only {available} after its length: it is truncated")]
    HeaderTruncated {
        /// The length it claims.
        claimed: u64,
        /// What is there.
        available: u64,
    },
    /// The header's first byte is not `{`.
    #[error("the header does not start with `{{`: this is not a safetensors file")]
    NotAnObject,
    /// The header is not UTF-8.
    #[error("the header is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// First wrong byte, counted from the header's start.
        at: usize,
    },
    /// The header nests deeper than any real one.
    #[error("the header nests deeper than {limit} levels at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
        /// The deepest we accept.
        limit: usize,
    },
    /// The header is not the JSON we expect.
    #[error("the header is not valid: {reason}")]
    Json {
        /// serde's words, with line and column.
        reason: String,
    },
    /// Two entries share a name.
    #[error("tensor `{tensor}` is listed twice")]
    Duplicate {
        /// Its name.
        tensor: String,
    },
    /// A name that is empty, too long, or holds NUL.
    #[error("a tensor's name is {problem}")]
    BadName {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More tensors than any real file.
    #[error("the header lists more than {limit} tensors")]
    TooManyTensors {
        /// The most we accept.
        limit: usize,
    },
    /// An element type we do not know.
    #[error("tensor `{tensor}` has the unknown type `{dtype}`")]
    UnknownDtype {
        /// Its name.
        tensor: String,
        /// The type as written.
        dtype: String,
    },
    /// More extents than any real tensor.
    #[error("tensor `{tensor}` has {rank} dimensions; at most {limit} are allowed")]
    RankTooHigh {
        /// Its name.
        tensor: String,
        /// How many it has.
        rank: usize,
        /// The most we accept.
        limit: usize,
    },
    /// The element count, or its size, overflows.
    #[error("tensor `{tensor}` of shape {shape} is larger than any memory")]
    ShapeOverflow {
        /// Its name.
        tensor: String,
        /// Its extents.
        shape: Shape,
    },
    /// The elements do not fill whole bytes.
    #[error("tensor `{tensor}` of shape {shape} does not fill whole bytes")]
    NotWholeBytes {
        /// Its name.
        tensor: String,
        /// Its extents.
        shape: Shape,
    },
    /// The range and the shape disagree.
    #[error("tensor `{tensor}` of shape {shape} takes {expected} bytes but its range {begin}..{end} holds another number")]
    SizeMismatch {
        /// Its name.
        tensor: String,
        /// Its extents.
        shape: Shape,
        /// Bytes that shape and type need.
        expected: u64,
        /// Where the range begins.
        begin: u64,
        /// Where the range ends.
        end: u64,
    },
    /// A tensor starts before the one in front of it ends.
    #[error("tensor `{tensor}` starts at {begin}, inside the tensor before it, which ends at {previous_end}")]
    Overlap {
        /// Its name.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where the one before it ends.
        previous_end: u64,
    },
    /// Bytes between two tensors belong to neither.
    #[error("tensor `{tensor}` starts at {begin} but the tensor before it ends at {previous_end}: the bytes between belong to nothing")]
    Hole {
        /// Its name.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where the one before it ends.
        previous_end: u64,
    },
    /// The file ends before its tensors do.
    #[error("the tensors take {expected} bytes but the file holds {found}: it is truncated, {} are missing", Bytes(expected - found))]
    DataTruncated {
        /// Bytes that the header lists.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file goes on after its last tensor.
    #[error("{extra} bytes follow the last tensor and belong to nothing")]
    TrailingBytes {
        /// How many.
        extra: u64,
    },
    /// A GGUF header that breaks that format's own rules.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A Python pickle.
    #[error("this is a pickle, which can run code when it is opened")]
    Pickle,
    /// A Git LFS pointer instead of the file.
    #[error("this is a Git LFS pointer, not the weights themselves")]
    LfsPointer,
    /// Some other kind of file.
    #[error("this is {kind}, not a safetensors file")]
    OtherKind {
        /// What it looks like.
        kind: &'static str,
    },
    /// A shard index that is no index.
    #[error("the shard index is not valid: {reason}")]
    BadIndex {
        /// What is wrong.
        reason: String,
    },
    /// A shard index names a file outside its folder.
    #[error("the shard index names `{file}`, which lies outside its folder")]
    ShardOutside {
        /// The name as written.
        file: String,
    },
}

/// Returns words from a file, short enough for one line: the file may hold megabytes of them.
#[must_use]
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 160;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl FormatError {
    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::TooShort { .. } | Self::HeaderTruncated { .. } | Self::DataTruncated { .. } => {
                "download or copy the file again; the transfer did not finish"
            }
            Self::Pickle => {
                "convert it on a machine you trust: load it with torch.load(weights_only=True), save it with safetensors.torch.save_file"
            }
            Self::LfsPointer => "run `git lfs pull` in the folder it came from",
            Self::OtherKind { .. } | Self::NotAnObject => "give a .safetensors or .gguf file, or a diffusers folder",
            Self::Gguf(problem) => problem.hint(),
            Self::BadIndex { .. } | Self::ShardOutside { .. } => "get the model's folder again from its source",
            _ => "the file is damaged or was made to do harm; get it again from its source",
        }
    }
}
