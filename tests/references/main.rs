//! Codecs, containers and conversions beside the reference programs, without libtorch in ours.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod conversion;
#[expect(dead_code, reason = "files that Python writes for us are compared by the tests of codecs")]
mod made;
