//! Weight files: bytes in, [`Catalog`](crate::weights::Catalog) out.
//!
//! Everything here is pure and holds against hostile input: lengths are checked before anything is
//! allocated or indexed, and each way to be wrong has an error that names the place.

pub mod error;
pub mod gguf;
pub mod gguf_error;
pub mod gguf_value;
pub mod safetensors;
pub mod shard_index;
pub mod sniff;

pub use error::FormatError;
pub use gguf_error::GgufError;
pub use sniff::{FileKind, sniff};
