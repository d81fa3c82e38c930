//! Which device each block of a model goes to.

pub mod compat;
pub mod explain;
pub mod plan;

pub use plan::{OffloadPlan, Share};
