//! The life of a job, as values: what states there are, what moves between them, what order they have.

pub mod job;
pub mod order;
pub mod progress;
pub mod state;

pub use job::{Failure, ImageRecord, JobRow, JobView, PartPlacement, Placement, StreamedOver, Timing};
pub use order::{Move, Rank};
pub use progress::{Phase, Progress};
pub use state::{IllegalMove, JobState, Step, WaitReason};
