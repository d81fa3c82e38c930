//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod dashboard;
mod frames;
mod screens;
mod support;
mod terminal;
mod tidy;
