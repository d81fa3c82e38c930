//! Owns where each block's bytes are now.
//!
//! A model asks for a block, computes with what it is lent, and lets it go. Weights are read-only,
//! so letting go never copies anything back.

pub mod blocks;

pub use blocks::{Held, Residency};
