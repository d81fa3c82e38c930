//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod dashboard;
mod frames;
mod library;
mod screens;
mod support;
mod telemetry;
mod telemetry_poller;
mod terminal;
mod tidy;
