//! Weight files: bytes in, [`Catalog`](crate::weights::Catalog) out.
//!
//! Everything here is pure and holds against hostile input: lengths are checked before anything is
//! allocated or indexed, and each way to be wrong has an error that names the place.

pub mod error;
pub mod safetensors;
pub mod shard_index;
pub mod sniff;

pub use error::FormatError;
pub use sniff::{FileKind, sniff};
