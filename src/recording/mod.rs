//! Recordings: what a subscriber heard, with its times, in a file that plays it again.
//!
//! ```text
//! file     = gzip members, so that `zcat` reads it
//! member   = lines of JSON; the first has the header before its snapshot
//! header   {"perilune_recording":1,"protocol":33,"version":"0.1.0","place":"local","begun":"…","prompts":false}
//! line     {"at":"…","what":{"changed":{"snapshot":…}}}     every member begins with a snapshot
//! end      {"at":"…","what":"end"}                          where this is missing, the file was cut off
//! ```
//!
//! Each member can be read without those before it, which is what makes jumps quick. A recording is for the build that made
//! it, as the wire is.

pub mod error;
pub mod moment;
pub mod prompts;
pub mod reader;
pub mod writer;

pub use error::RecordingError;
pub use moment::{Header, Moment, What};
pub use prompts::Prompts;
pub use reader::{CutOff, Moments, Recording};
pub use writer::{Keep, Recorder};
