#![doc = include_str!("ARCHITECTURE.md")]

// L0: words everybody shares.
pub mod units;

// L1: pure domain.
pub mod weights;
pub mod formats;
pub mod quant;
pub mod kernels;
pub mod families;
pub mod devices;
pub mod placement;
pub mod profile;
pub mod sampling;
pub mod tokens;
pub mod prompt;
pub mod workflow;
pub mod jobs;
pub mod imagery;
pub mod theme;
pub mod wire;

// Both programs.
pub mod logging;

// L2: services.
pub mod config;
pub mod gallery;
pub mod ledger;
pub mod telemetry;
pub mod library;
pub mod cache;
pub mod conversion;
pub mod recording;

// L3: processes.
pub mod client;
pub mod daemon;
#[cfg(feature = "engine")]
pub mod engine;

// L4: faces.
pub mod cli;
pub mod tui;
