//! The integration tests, one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails may panic")]

// What fuzz targets call their macro's crate.
extern crate self as libfuzzer_sys;

mod alerts;
mod bad_input;
mod cached;
mod calibrate;
mod cli;
mod cli_advice;
mod cli_plan;
mod convert;
mod conversions;
mod dashboard;
mod filters;
mod finding;
mod form;
mod frames;
mod frozen;
mod fuzz;
mod gpu_states;
mod hosts;
mod keys;
mod ledger;
mod legible;
mod library;
mod link;
mod metrics;
mod plain;
mod plan;
mod pointer;
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
mod unseen;
mod visible_gpus;
mod world;

use fuzz::fuzz_target;
