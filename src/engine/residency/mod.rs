//! Owns where each block's bytes are now.
//!
//! A model asks for a block, computes with what it is lent, and lets it go. Weights are read-only,
//! so letting go never copies anything back.

pub mod blocks;
pub mod disk;
pub mod donor_file;
pub mod faults;
pub mod layout;
pub mod rebudget;
pub mod residents;
pub mod staging;

pub use blocks::{Held, Placing, Residency};
pub use disk::Traffic;
pub use rebudget::GivenUp;
