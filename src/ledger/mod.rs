//! The database of jobs, runs, images and events. What it says has happened, has happened.
//!
//! One SQLite file in WAL mode with `synchronous = FULL`: a commit that was answered survives a power
//! cut. The file has a version and is brought forward step by step; a newer one is refused. Everything
//! here blocks; the daemon gives the ledger a thread of its own.

pub mod command;
pub mod damage;
pub mod error;
pub mod history;
pub mod lessons;
pub mod open;
pub mod queue;
pub mod recovery;
pub mod rows;
pub mod runs;

pub use command::{Amiss, Answer, Command, Interruption, Outcome, Planned};
pub use error::LedgerError;
pub use open::Ledger;
pub use recovery::{Recovered, Unfinished, Unnamed, Unreadable};
pub use rows::Entry;
