//! The conversation in which Z-Image's prompts are asked.
//!
//! Source: Z-Image `src/zimage/pipeline.py` and diffusers `pipelines/z_image/pipeline_z_image.py`, which apply Qwen3's chat
//! template to one message of the user, with the prompt for an answer and without a thought.

use super::token::TokenId;
use super::vocabulary::{Vocabulary, VocabularyError};

/// What both programs cut at.
pub const MOST: usize = 512;

/// Returns the whole text that the encoder reads.
#[must_use]
pub fn framed(prompt: &str) -> String {
    format!("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")
}

/// Returns the ids of a prompt in its frame, at most [`MOST`] of them, and how many were cut off.
pub fn encode(prompt: &str, vocabulary: &Vocabulary) -> Result<(Vec<TokenId>, usize), VocabularyError> {
    let mut ids = vocabulary.encode(&framed(prompt))?;
    let cut = ids.len().saturating_sub(MOST);
    ids.truncate(MOST);
    Ok((ids, cut))
}
