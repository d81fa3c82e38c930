//! T5's encoder.

pub mod model;

pub use model::T5Encoder;
