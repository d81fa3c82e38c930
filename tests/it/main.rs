//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod library;
mod queue;
mod support;
mod tidy;
mod world;
