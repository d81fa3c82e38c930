//! The real terminal: taking it, asking it, reading keys from it, writing frames to it, giving it back.
//!
//! Nothing else in the crate touches it. Frames and answers are made and understood as bytes, so that
//! tests need no terminal.

pub mod encode;
pub mod guard;
pub mod input;
pub mod probe;
pub mod stage;
pub mod writer;
