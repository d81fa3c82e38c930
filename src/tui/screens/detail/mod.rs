//! Everything about one thing: a job, a device, a set, a notice.

pub mod device;
pub mod job;
pub mod state;
pub mod update;
pub mod view;

pub use state::{State, Subject};
