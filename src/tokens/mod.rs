//! Text to token ids and on to the windows that a text encoder reads; shared by the engine and the
//! counter beside a prompt.
//!
//! Knows nothing of prompt syntax: it takes plain text, or pieces of it with a weight each.

pub mod chat;
pub mod chunks;
pub mod clip_bpe;
pub mod listed;
pub mod sequence;
pub mod token;
pub mod vocabulary;

pub use chunks::{Chunking, Filler, Piece, TokenCount, Window, count, windows};
pub use sequence::{Length, Sequence};
pub use token::TokenId;
pub use vocabulary::{Vocabulary, VocabularyError, VocabularyKind};
