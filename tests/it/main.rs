//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod cli;
mod ledger;
mod library;
mod link;
mod protocol;
mod queue;
mod supervision;
mod support;
mod tidy;
mod world;
