//! Which device each block of a model goes to.

mod case;
mod demand;
#[cfg(test)]
mod golden;
mod moves;
mod packing;
mod pipeline;
pub mod plan;
pub mod planner;
mod portfolio;
#[cfg(test)]
mod properties;
pub mod shortage;
pub mod simulate;
pub mod sweep;

pub use plan::{OffloadPlan, Share};
pub use planner::{Goal, Planned, Predicted, Request};
pub use shortage::Shortage;
pub use simulate::Staging;
