//! Streams blocks to an NVIDIA GPU on streams of their own, while libtorch computes on its.
//!
//! ```text
//! donor cpu    one piece of pinned host memory a block ──────── copy stream ──> ring on the GPU
//! donor cuda:N one piece of that GPU's memory a block ───────── copy stream ──> ring
//! donor disk   file ── reading threads ──> pinned chunks ── a stream each ───> ring
//! ```
//!
//! Only events order the two sides: a copy waits until computing has left the place it goes to, computing waits until the
//! copy is there. The processor waits for neither where the donor is memory.

mod chunks;
mod driver;
mod masters;
mod mover;
mod timing;

pub use driver::CudaError;
pub use mover::CudaMover;
