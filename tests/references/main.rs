//! Codecs, containers and conversions beside the reference programs, without libtorch in ours.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod backup;
mod conversion;
mod gguf;
mod made;
mod quant_plain;
mod tokens;
