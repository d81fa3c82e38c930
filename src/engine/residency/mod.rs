//! Owns where each block's bytes are now.
//!
//! A model asks for a block, computes with what it is lent, and lets it go. Weights are read-only,
//! so letting go never copies anything back.

pub mod blocks;
pub mod carrier;
pub mod crew;
pub mod cuda;
pub mod disk;
pub mod donor_file;
pub mod faults;
pub mod gathered;
pub mod held;
pub mod host_donor;
pub mod layout;
pub mod packed;
pub mod poison;
pub mod rebudget;
pub mod residents;
pub mod simulated;
pub mod staging;
pub mod traffic;
pub mod views;

pub use blocks::{Placing, Residency};
pub use held::Held;
pub use rebudget::GivenUp;
pub use traffic::Traffic;
