#![doc = include_str!("ARCHITECTURE.md")]

// L0: words everybody shares.
pub mod units;

// L1: pure domain.
pub mod devices;
pub mod families;
pub mod formats;
pub mod jobs;
pub mod placement;
pub mod profile;
pub mod sampling;
pub mod weights;
pub mod wire;
pub mod workflow;

// Both programs.
pub mod logging;

// L2: services.
pub mod config;
pub mod gallery;
pub mod ledger;
pub mod library;

// L3: processes.
pub mod client;
pub mod daemon;

// L4: faces.
pub mod cli;
