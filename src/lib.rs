#![doc = include_str!("ARCHITECTURE.md")]

// L0: words everybody shares.
pub mod units;

// L1: pure domain.
pub mod families;
pub mod formats;
pub mod imagery;
pub mod prompt;
pub mod sampling;
pub mod tokens;
pub mod weights;
