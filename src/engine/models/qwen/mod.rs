//! The language model Qwen3, as far as it encodes prompts.

pub mod model;

pub use model::QwenEncoder;
