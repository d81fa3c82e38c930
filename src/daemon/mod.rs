//! The daemon: owns the queue, supervises engines, answers clients.
//!
//! `core` owns all state and touches nothing; `run` touches everything and owns none. Between them
//! lie two lists: `Input`, everything that can happen, and `Output`, everything that can be asked for.

pub mod advising;
pub mod ahead;
mod answers;
mod calibrations;
mod conversions;
pub mod converters;
pub mod core;
pub mod door;
pub mod engines;
mod faults;
mod grounds;
mod handlers;
pub mod input;
mod layout;
mod lessons;
pub mod lifecycle;
pub mod lookup;
pub mod output;
pub mod pending;
pub mod planning;
pub mod readings;
pub mod records;
pub mod recovery;
pub mod reports;
pub mod run;
pub mod scheduler;
pub mod sessions;
mod sets;
mod signals;
mod simulated;
mod snapshot;
pub mod state;
mod supervision;

pub use run::{Options, serve};
