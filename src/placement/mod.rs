//! Which device each block of a model goes to.

pub mod decimal;
pub mod error;
mod span;
pub mod expression;
pub mod ask;
pub mod budget;
pub mod compat;
pub mod explain;
pub mod plan;
pub mod stream;

pub use ask::{FullAsk, OffloadAsk, VirtualVram};
pub use budget::{Load, Quota, Quotas, Room, quotas};
pub use error::{AllocationError, AskError, BudgetError, Problem};
pub use expression::{Allocation, Listed, Parts};
pub use plan::{OffloadPlan, Share};
