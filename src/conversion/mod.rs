//! Weights from one storage into another, streaming and without libtorch.

pub mod gguf_file;
pub mod kernels;
