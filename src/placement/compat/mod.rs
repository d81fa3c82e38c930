//! What ComfyUI-MultiGPU would do with an allocation string, its surprises included.
//!
//! Workflows that people bring carry such strings. Here they mean to the byte what they meant there, so that
//! one can see what a string really did; `perilune` itself places by its own rules, not by these. Devices are
//! plain strings, for the original knows more kinds of them than we do. Nothing here is used to run anything.

pub mod error;
pub mod numbers;
pub mod question;
pub mod fractions;
pub mod distorch2;
pub mod distorch1;
pub mod cases;

pub use cases::{Case, CaseFile, Verdict};
pub use error::{CasesError, CompatError};
pub use question::{Answer, Held, Home, Leaf, Question, Reason, Role, Rules, Totals};
