//! Text to token ids and on to the windows that a text encoder reads; shared by the engine and the
//! counter beside a prompt.
//!
//! Knows nothing of prompt syntax: it takes plain text, or pieces of it with a weight each.

pub mod chunks;
pub mod clip_bpe;
pub mod token;

pub use chunks::{Chunking, Piece, TokenCount, Window, count, windows};
pub use token::TokenId;
