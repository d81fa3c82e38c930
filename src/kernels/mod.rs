//! The codecs of `quant` again, for speed: each is checked against the plain one to the bit.
//!
//! Those of plain storages are the codecs' own code with wider instructions allowed, chosen when they are called: Rust never fuses
//! or reorders arithmetic of floats; only `four_bits` and `halves` are written in a processor's own words. Those of ggml's blocks work on sub-blocks side by side. Signatures are those of the codecs.

mod deviation;
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod four_bits;
mod measured;
pub mod ggml;
#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "x86_64")]
mod ggml_k;
#[cfg(target_arch = "x86_64")]
mod ggml_lanes;
#[cfg(target_arch = "x86_64")]
mod ggml_read;
#[cfg(target_arch = "x86_64")]
mod ggml_search;
#[cfg(target_arch = "x86_64")]
mod ggml_short;

pub use deviation::Deviation;
pub use dispatch::{
    Level, compare, dequantise_int8, dequantise_nf4, dequantise_sdnq, max_abs, narrow, narrow_scaled, quantise_int8, quantise_nf4,
    quantise_sdnq, widen, widen_scaled,
};
pub use measured::{int8_measured, narrow_measured, narrow_scaled_measured, nf4_measured, sdnq_measured};
