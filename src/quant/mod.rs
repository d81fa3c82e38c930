//! How numbers are stored in fewer bits: the codecs of every storage, plain and scalar.
//!
//! Values only. Each codec is checked bit for bit against the program that defines its format; the faster kernels of
//! `conversion` are checked against these.

pub mod advice;
pub mod comfy_gguf;
mod comfy_tables;
pub mod detect;
mod error;
pub mod floats;
pub mod fp8;
pub mod gather;
pub mod ggml;
pub mod ggml_fit;
pub mod ggml_k;
pub mod ggml_legacy;
pub mod int8;
pub mod llama_gguf;
pub mod nf4;
pub mod precision;
pub mod quant_state;
pub mod sd_cpp_gguf;
pub mod sdnq;
pub mod sdnq_config;
mod sdnq_floats;
pub mod sdnq_names;
pub mod sdnq_packing;
pub mod sdnq_reading;
pub mod sdnq_rotation;
pub mod sdnq_type;

#[cfg(test)]
mod golden;

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

/// One and a half times 2^23: what is added to it loses its fraction, to the nearest, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// Returns the low byte of the nearest integer, ties to even, of a number below 2^22.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn to_code(value: f32) -> u8 {
    (value + ROUNDER).to_bits() as u8
}
