//! Codecs, containers and conversions beside the reference programs, without libtorch in ours.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod backup;
mod conversion;
mod encoder_files;
mod gguf;
mod joined;
mod made;
mod quant_plain;
mod tokens;
