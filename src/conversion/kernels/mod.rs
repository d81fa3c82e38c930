//! Codecs of `quant` again, for speed: each is checked against the plain one to the bit.

pub mod ggml;
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
