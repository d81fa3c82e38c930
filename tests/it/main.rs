//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod bad_input;
mod cached;
mod calibrate;
mod cli;
mod cli_advice;
mod cli_plan;
mod convert;
mod conversions;
mod dashboard;
mod finding;
mod frames;
mod gpu_states;
mod hosts;
mod ledger;
mod legible;
mod library;
mod link;
mod metrics;
mod plain;
mod plan;
mod profiles;
mod protocol;
mod queue;
mod rebudget;
mod recording;
mod screens;
mod screens_cache;
mod screens_devices;
mod screens_gallery;
mod screens_sets;
mod scripts;
mod sets;
mod simulated;
mod supervision;
mod support;
mod telemetry;
mod telemetry_poller;
mod terminal;
mod tidy;
mod tuner;
mod unreadable;
mod visible_gpus;
mod world;
