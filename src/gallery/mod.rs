//! Pictures on disk: written under hidden names, flushed, and only then given names of their own.
//!
//! An engine writes `.perilune-LEDGER-RUN-K.part`; the daemon, once it has recorded the run, renames it. No
//! file that was there before is ever overwritten, and a picture with a name is a whole picture.

pub mod error;
pub mod folder;
pub mod names;
pub mod publish;
pub mod save;

pub use error::GalleryError;
pub use folder::{check, list};
pub use names::{file_name, target};
pub use publish::{inode, publish};
pub use save::{discard, survive_limits, write_temp};
