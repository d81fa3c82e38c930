//! Which device each block of a model goes to.

mod pipeline;
pub mod plan;
pub mod simulate;

pub use plan::{OffloadPlan, Share};
pub use simulate::Staging;
