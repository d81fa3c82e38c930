//! Which device each block of a model goes to.

pub mod plan;
pub mod stream;

pub use plan::{OffloadPlan, Share};
