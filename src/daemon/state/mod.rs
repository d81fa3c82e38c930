//! What the core keeps in memory: the queue, the runs that engines work on, and the engines.

pub mod attempt;
pub mod engine;
pub mod queue;

pub use attempt::{Attempt, Stage};
pub use engine::{Engine, FAILED_STARTS, Mode};
pub use queue::Queue;
