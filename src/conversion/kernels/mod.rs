//! The codecs of `quant`, compiled once more for what the processor at hand can do.
//!
//! A kernel is the scalar codec's own code with wider instructions allowed, chosen when it is called, so the bits are the same by
//! construction: Rust never fuses or reorders arithmetic of floats. Signatures are those of the codecs. What compiles badly
//! is written in a processor's own words, in a file of its own, and held against the codec.

mod deviation;
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod four_bits;
mod measured;

pub use deviation::Deviation;
pub use dispatch::{
    Level, compare, dequantise_int8, dequantise_nf4, dequantise_sdnq, max_abs, narrow, narrow_scaled, quantise_int8, quantise_nf4,
    quantise_sdnq, widen, widen_scaled,
};
pub use measured::{int8_measured, narrow_measured, narrow_scaled_measured, nf4_measured, sdnq_measured};
