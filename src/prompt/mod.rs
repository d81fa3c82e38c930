//! What a prompt means before it is tokens: which words count more, and where a window ends.
//!
//! Knows nothing of tokens, files or models. [`parse`] never fails: what is not syntax is text.

pub mod dialect;
pub mod emphasis;
pub mod syntax;

pub use dialect::{Dialect, Weighting};
pub use emphasis::{Segment, escape, parse};
