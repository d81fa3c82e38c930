//! Numbers of the engine beside those of diffusers and transformers, on tiny random weights.
//!
//! The reference side is written by `scripts/parity/*.py` into the target folder, once per version
//! of the script, with the Python of `.venv` that `scripts/test` sets up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails may panic")]
#![expect(clippy::print_stdout, reason = "the measured deviations are worth seeing with --nocapture")]

mod embeddings;
mod encoders;
mod everywhere;
mod faults;
mod fixture;
mod flow_pictures;
mod keeping;
#[path = "../references/made.rs"]
mod made;
mod needed;
mod networks;
mod offload;
mod pictures;
mod process;
mod sdxl;
mod sets;
mod tiling;
mod transformers;
mod whole;
