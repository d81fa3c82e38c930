//! The engine: loads weights and runs jobs. The only code in the crate that knows libtorch.
//!
//! It reads no settings and no variables: what it needs arrives in orders. A reader thread takes
//! orders and sets flags, one compute thread owns every tensor, and reports leave through one writer.

pub mod account;
pub mod calibration;
pub mod allocator;
mod asking;
pub mod cancel;
mod decoding;
pub mod device;
pub mod embeddings;
pub mod error;
pub mod heap;
mod holdings;
pub mod image;
pub mod inference;
pub mod keeping;
pub mod loading;
pub mod models;
pub mod nn;
pub mod pieces;
pub mod pipelines;
pub mod preview;
mod reading;
pub mod reporter;
pub mod residency;
mod room;
pub mod runner;
pub mod save;
pub mod serve;
pub mod sets;
pub mod shelf;
pub mod simulated;
pub mod speeds;
pub mod steps;
pub mod tally;
mod tending;
pub mod wishes;

pub use error::EngineError;
