//! Prompts to what text encoders read: the one reading that the engine encodes and the form counts.

use crate::prompt::{Dialect, Segment, parse};
use crate::tokens::chunks::{self, Chunking, Piece, Window};
use crate::tokens::{Length, Sequence, TokenCount, Vocabulary, VocabularyError};

/// Returns the windows that the text encoder reads.
#[must_use]
pub fn windows(text: &str, dialect: Dialect) -> Vec<Window> {
    let pieces: Vec<Piece> = parse(text, dialect)
        .into_iter()
        .map(|segment| match segment {
            Segment::Text { text, weight } => Piece::words(&text, weight),
            Segment::Break => Piece::Break,
        })
        .collect();
    let chunking = match dialect {
        Dialect::A1111 => Chunking::A1111,
        Dialect::Comfy => Chunking::Comfy,
    };
    chunks::windows(&pieces, chunking)
}

/// Returns the sequence that T5 reads: pieces of one weight are read one by one, as ComfyUI does; a break is only the end of one.
pub fn sequence(text: &str, dialect: Dialect, vocabulary: &Vocabulary, length: Length) -> Result<Sequence, VocabularyError> {
    let pieces = parse(text, dialect).into_iter().filter_map(|segment| match segment {
        Segment::Text { text, weight } => Some(vocabulary.encode(&text).map(|ids| (ids, weight))),
        Segment::Break => None,
    });
    Ok(Sequence::of(&pieces.collect::<Result<Vec<_>, _>>()?, length))
}

/// Returns how long a prompt is, syntax not counted.
#[must_use]
pub fn count(text: &str, dialect: Dialect) -> TokenCount {
    TokenCount::of(&windows(text, dialect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_not_counted_and_breaks_start_windows() {
        let count = |text| count(text, Dialect::A1111);
        assert_eq!(count("(moon:1.4)").tokens, count("moon").tokens);
        assert_eq!(count("a moon").windows, 1);
        assert_eq!(count("a BREAK moon").windows, 2);
        assert_eq!(count(&"moon ".repeat(100)).windows, 2);
    }
}
