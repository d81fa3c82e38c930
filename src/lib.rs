#![doc = include_str!("ARCHITECTURE.md")]

// L0: words everybody shares.
pub mod units;

// L1: pure domain.
pub mod devices;
pub mod families;
pub mod formats;
pub mod imagery;
pub mod jobs;
pub mod placement;
pub mod prompt;
pub mod sampling;
pub mod tokens;
pub mod weights;
pub mod wire;
pub mod workflow;

// L2: services.
pub mod library;
pub mod telemetry;

// L3: processes.
pub mod client;
#[cfg(feature = "engine")]
pub mod engine;
