//! Noise schedules and solvers: numbers in f64, and no tensors.
//!
//! A solver works on anything that can be summed with weights, so the same lines run on golden
//! vectors in tests and on latents in the engine.

pub mod method;

pub use method::{Prediction, Sampler, Schedule};
