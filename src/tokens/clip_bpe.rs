//! CLIP's byte-pair encoding, as transformers' `CLIPTokenizer` does it, which ComfyUI and diffusers use.
//!
//! The crate `instant-clip-tokenizer` carries the vocabulary, splits words and merges bytes. It follows
//! `OpenCLIP`, so three things are done here:
//!
//! - Text is composed (NFC) and lower-cased letter by letter. The crate lower-cases whole words, where
//!   a capital sigma at the end becomes another letter than transformers makes of it.
//! - `<|startoftext|>` and `<|endoftext|>` written in a prompt are the special tokens.
//! - `<start_of_text>` and `<end_of_text>`, which the crate takes for them, are plain text.
//!
//! White space needs no care: it only ends words, and any run of it ends them as one space would.
//! `OpenCLIP` itself also mends broken text (ftfy) and HTML entities; transformers does not, so neither
//! do we. What remains different are combining marks that are newer than the Unicode tables of either
//! side, 7 of 30,000 random texts.

use std::sync::LazyLock;

use instant_clip_tokenizer::Tokenizer;
use unicode_normalization::UnicodeNormalization;

use super::token::TokenId;

/// The mark before every text.
pub const BEGIN: TokenId = TokenId(49406);
/// The mark after every text, with which CLIP-L's windows are filled up too.
pub const END: TokenId = TokenId(49407);
/// A comma that stands alone.
pub const COMMA: TokenId = TokenId(267);

const SPECIAL: [(&str, TokenId); 2] = [("<|startoftext|>", BEGIN), ("<|endoftext|>", END)];

/// Reading the 48,894 merges takes about 60 ms, so it is done once, by the first who asks.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::new);

/// Returns the ids of `text`, without the marks around it.
///
/// The time grows with the square of the longest word: 50 ms for one of 50,000 letters.
#[must_use]
pub fn encode(text: &str) -> Vec<TokenId> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some((at, name, id)) = first_special(rest) {
        encode_plain(&rest[..at], &mut ids);
        ids.push(id);
        rest = &rest[at + name.len()..];
    }
    encode_plain(rest, &mut ids);
    ids
}

/// Returns where the first special string starts, its name and its id.
fn first_special(text: &str) -> Option<(usize, &'static str, TokenId)> {
    let found = SPECIAL.iter().filter_map(|(name, id)| Some((text.find(name)?, *name, *id)));
    found.min_by_key(|(at, _, _)| *at)
}

fn encode_plain(text: &str, ids: &mut Vec<TokenId>) {
    let text: String = text.nfc().flat_map(char::to_lowercase).collect();
    // A space after `<` changes no word, since a bracket and a letter never share one.
    let text = text.replace("<start_of_text>", "< start_of_text>").replace("<end_of_text>", "< end_of_text>");
    let mut found = Vec::new();
    TOKENIZER.encode(&text, &mut found);
    ids.extend(found.into_iter().map(|token| TokenId(token.to_u16().into())));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        texts: Vec<Text>,
    }

    #[derive(Deserialize)]
    struct Text {
        text: String,
        ids: Vec<u32>,
    }

    #[test]
    fn awkward_texts_agree_with_transformers() {
        let fixture: Fixture =
            serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parity/clip_tokens.json"))).unwrap();
        assert!(fixture.texts.len() >= 60);
        let mut wrong = Vec::new();
        for Text { text, ids } in fixture.texts {
            let found: Vec<u32> = encode(&text).into_iter().map(|id| id.0).collect();
            if found != ids {
                wrong.push(format!("{text:?}: {found:?} is not {ids:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_marks_and_the_comma_are_where_the_vocabulary_has_them() {
        assert_eq!(TokenId(TOKENIZER.start_of_text().to_u16().into()), BEGIN);
        assert_eq!(TokenId(TOKENIZER.end_of_text().to_u16().into()), END);
        assert_eq!(encode(","), [COMMA]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_entries_of_the_vocabulary(text in ".*") {
            prop_assert!(encode(&text).iter().all(|id| *id <= END));
        }

        #[test]
        fn white_space_only_separates(words in proptest::collection::vec("[a-z]{1,6}", 0..6), space in "[ \t\n\u{a0}\u{3000}]{1,3}") {
            let together: Vec<TokenId> = encode(&words.join(&space));
            let apart: Vec<TokenId> = words.iter().flat_map(|w| encode(w)).collect();
            prop_assert_eq!(together, apart);
        }
    }
}
