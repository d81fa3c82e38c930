//! Which device each block of a model goes to.

pub mod decimal;
pub mod error;
mod span;
pub mod expression;
pub mod pins;
pub mod ask;
pub mod expert;
pub mod part;
pub mod budget;
pub mod floors;
pub mod compat;
pub mod explain;
pub mod own_tables;
pub mod plan;
pub mod simulate;
mod pipeline;
mod case;
mod demand;
mod packing;
mod portfolio;
mod moves;
pub mod planner;
pub mod shortage;
pub mod sweep;
mod ring;
pub mod machine;
pub mod propose;
pub mod advice;
pub mod pace;
pub mod learned;
pub mod simulated;
pub mod pool;
pub mod recency;
pub mod stream;
pub mod pressure;
pub mod verify;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod virtual_time;

pub use ask::{FullAsk, OffloadAsk, VirtualVram};
pub use budget::{Load, Quota, Quotas, Room, quotas};
pub use error::{AllocationError, AskError, BudgetError, Problem};
pub use expert::Expert;
pub use expression::{Allocation, Listed, Parts};
pub use floors::Floors;
pub use learned::{Basis, Experience, Files, Finding, Forecast, History, Learned, Origin, Similar, Subject, Whose};
pub use machine::{Machine, Speed};
pub use pace::{Grounds, Pace, Sample, Walk};
pub use part::{Donors, OfPart, Part, PartAsks};
pub use pins::Pins;
pub use plan::{OffloadPlan, Share};
pub use planner::{Goal, Planned, Predicted, Request};
pub use propose::{Model, ProposalError, propose};
pub use shortage::Shortage;
pub use simulate::Staging;
