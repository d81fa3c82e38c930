//! L0: the words every other module shares.
//!
//! One-line newtypes for numbers with a meaning. They know how to be read from and written as
//! text, and nothing about what they are used for.

pub mod bytes;
pub mod capability;
pub mod clock;
pub mod ids;
pub mod pixels;
pub mod seed;
pub mod thresholds;

pub use bytes::Bytes;
pub use capability::Capability;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use ids::{BlockIndex, DeviceId, JobId, RunId, SessionId};
pub use pixels::Size;
pub use seed::Seed;
pub use thresholds::{Grade, SaidThresholds, Thresholds, ThresholdsError};
