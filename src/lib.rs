#![doc = include_str!("ARCHITECTURE.md")]

// L0: words everybody shares.
pub mod units;

// L1: pure domain.
pub mod devices;
pub mod families;
pub mod formats;
pub mod jobs;
pub mod placement;
pub mod sampling;
pub mod theme;
pub mod weights;
pub mod wire;
pub mod workflow;

// L3: processes.
pub mod client;

// L4: faces.
pub mod tui;
