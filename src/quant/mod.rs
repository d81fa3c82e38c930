//! How numbers are stored in fewer bits: the codecs of every storage, plain and scalar.
//!
//! Values only. Each codec is checked bit for bit against the program that defines its format; the faster kernels of
//! `conversion` are checked against these.

pub mod comfy_gguf;
mod comfy_tables;
pub mod detect;
mod error;
pub mod ggml;
pub mod ggml_fit;
pub mod ggml_k;
mod ggml_legacy;
pub mod precision;

pub use comfy_tables::Architecture;
pub use error::QuantError;
pub use precision::{Container, Mix, SdnqType, Target};

/// What storing cost beside rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Values beyond the range of the type: clamped in 8 bits, infinite in 16.
    pub clipped: u64,
    /// Values that were no numbers.
    pub not_a_number: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.clipped += other.clipped;
        self.not_a_number += other.not_a_number;
    }
}
