//! A vocabulary as lists, as llama.cpp's files hold one: what every number stands for, in their order.
//!
//! Source of the kinds and of what fills gaps: llama.cpp `include/llama.h`, `llama_token_type`, and `convert_hf_to_gguf.py`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::vocabulary::{VocabularyError, VocabularyKind};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// What stands for text that is not known.
    Unknown,
    /// A mark.
    Control,
    /// Text that was added by a user, whole.
    UserDefined,
    /// Nothing: it fills a table up.
    Unused,
}

impl TokenKind {
    /// Returns its number in files.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
        }
    }
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedToken {
    /// Its text.
    pub text: String,
    /// The logarithm of how likely it is, where pieces are chosen by that.
    pub score: f32,
    /// What it is.
    pub kind: TokenKind,
}

/// A vocabulary in lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The tokens in the order of their numbers.
    pub tokens: Vec<ListedToken>,
    /// Pairs that become one, in the order in which they do; the halves of each with a space between.
    pub merges: Vec<String>,
    /// The table by which text is normalised, where there is one.
    pub table: Option<Vec<u8>>,
}

/// More numbers than any vocabulary has.
const MOST: usize = 1 << 20;
/// How likely that is which is nothing, as llama.cpp has it.
const NEVER: f32 = -10_000.0;

impl Listed {
    /// Reads a `tokenizer.json`.
    pub fn from_json(kind: VocabularyKind, bytes: &[u8]) -> Result<Self, VocabularyError> {
        let json: Json = serde_json::from_slice(bytes).map_err(|e| unreadable(&e.to_string()))?;
        let model = &json["model"];
        let mut listed = Self::default();
        match kind {
            VocabularyKind::T5 => {
                let pieces = model["vocab"].as_array().ok_or_else(|| unreadable("it has no list of pieces"))?;
                for (id, piece) in pieces.iter().enumerate() {
                    let (Some(text), Some(score)) = (piece[0].as_str(), piece[1].as_f64()) else {
                        return Err(unreadable("a piece is no text with a score"));
                    };
                    listed.put(id, text, score as f32, TokenKind::Normal)?;
                }
                listed.table = table(&json["normalizer"])?;
            }
            VocabularyKind::Qwen => {
                let pairs = model["vocab"].as_object().ok_or_else(|| unreadable("it has no table of pairs"))?;
                for (text, id) in pairs {
                    listed.put(number(id)?, text, 0.0, TokenKind::Normal)?;
                }
                let merges = model["merges"].as_array().ok_or_else(|| unreadable("it has no list of merges"))?;
                listed.merges = merges.iter().map(merge).collect::<Result<_, _>>()?;
            }
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let Some(text) = added["content"].as_str() else { return Err(unreadable("a mark has no text")) };
            let kind = if added["special"] == true { TokenKind::Control } else { TokenKind::UserDefined };
            let id = number(&added["id"])?;
            let score = listed.tokens.get(id).filter(|known| known.kind != TokenKind::Unused).map_or(0.0, |known| known.score);
            listed.put(id, text, score, kind)?;
        }
        if let Some(unknown) = model["unk_id"].as_u64().and_then(|id| listed.tokens.get_mut(id as usize)) {
            unknown.kind = TokenKind::Unknown;
        }
        Ok(listed)
    }

    /// Puts one together: byte pairs with their numbers, the order in which they are merged, and marks with theirs.
    pub fn from_merges(pairs: &[(String, u32)], merges: &[(String, String)], marks: &[(String, u32)]) -> Result<Self, VocabularyError> {
        let mut listed = Self { merges: merges.iter().map(|(a, b)| format!("{a} {b}")).collect(), ..Self::default() };
        pairs.iter().try_for_each(|(text, id)| listed.put(*id as usize, text, 0.0, TokenKind::Normal))?;
        marks.iter().try_for_each(|(text, id)| listed.put(*id as usize, text, 0.0, TokenKind::Control))?;
        Ok(listed)
    }

    /// Returns the number of a token.
    #[must_use]
    pub fn id(&self, text: &str) -> Option<u32> {
        u32::try_from(self.tokens.iter().position(|token| token.text == text)?).ok()
    }

    /// Fills the list up to as many tokens as a table has rows.
    pub fn fill_up(&mut self, rows: usize) {
        for id in self.tokens.len()..rows.min(MOST) {
            self.tokens.push(nothing(id));
        }
    }

    fn put(&mut self, id: usize, text: &str, score: f32, kind: TokenKind) -> Result<(), VocabularyError> {
        if id >= MOST {
            return Err(unreadable("a token's number is larger than any vocabulary's"));
        }
        self.fill_up(id + 1);
        self.tokens[id] = ListedToken { text: text.to_owned(), score, kind };
        Ok(())
    }
}

fn nothing(id: usize) -> ListedToken {
    ListedToken { text: format!("[PAD{id}]"), score: NEVER, kind: TokenKind::Unused }
}

fn unreadable(reason: &str) -> VocabularyError {
    VocabularyError::Unreadable { reason: reason.chars().take(300).collect() }
}

fn number(id: &Json) -> Result<usize, VocabularyError> {
    id.as_u64().and_then(|id| usize::try_from(id).ok()).ok_or_else(|| unreadable("a token's number is none"))
}

/// Reads a merge, which old files have as one text and new ones as two.
fn merge(json: &Json) -> Result<String, VocabularyError> {
    match (json.as_str(), json[0].as_str(), json[1].as_str()) {
        (Some(both), ..) => Ok(both.to_owned()),
        (None, Some(first), Some(second)) => Ok(format!("{first} {second}")),
        _ => Err(unreadable("a merge is no pair of texts")),
    }
}

/// Returns the table of a normaliser, or of one of its steps.
fn table(normaliser: &Json) -> Result<Option<Vec<u8>>, VocabularyError> {
    let steps = normaliser["normalizers"].as_array().into_iter().flatten();
    let Some(text) = std::iter::once(normaliser).chain(steps).find_map(|step| step["precompiled_charsmap"].as_str()) else {
        return Ok(None);
    };
    STANDARD.decode(text).map(Some).map_err(|_| unreadable("the table by which text is normalised is no base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listed: &Listed) -> Vec<(&str, f32, i32)> {
        listed.tokens.iter().map(|token| (token.text.as_str(), token.score, token.kind.number())).collect()
    }

    #[test]
    fn pieces_keep_their_scores_and_marks_are_marked() {
        let json = r#"{"model": {"type": "Unigram", "unk_id": 2, "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["cat", -3.5]]},
            "added_tokens": [{"id": 0, "content": "<pad>", "special": true}, {"id": 2, "content": "<unk>", "special": true},
                {"id": 5, "content": "<x>", "special": false}],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "AQI="}]}}"#;
        let mut listed = Listed::from_json(VocabularyKind::T5, json.as_bytes()).unwrap();
        listed.fill_up(7);
        let wanted = [
            ("<pad>", 0.0, 3),
            ("</s>", 0.0, 1),
            ("<unk>", 0.0, 2),
            ("cat", -3.5, 1),
            ("[PAD4]", NEVER, 5),
            ("<x>", 0.0, 4),
            ("[PAD6]", NEVER, 5),
        ];
        assert_eq!(told(&listed), wanted);
        assert_eq!((listed.table, listed.merges.len()), (Some(vec![1, 2]), 0));
    }

    #[test]
    fn pairs_stand_at_their_numbers_whichever_way_merges_are_written() {
        let read = |merges: &str| {
            let json = format!(
                r#"{{"model": {{"vocab": {{"b": 1, "a": 0, "ab": 2}}, "merges": [{merges}]}}, "added_tokens": [{{"id": 3, "content": "<|im_end|>", "special": true}}]}}"#
            );
            Listed::from_json(VocabularyKind::Qwen, json.as_bytes()).unwrap()
        };
        let listed = read("\"a b\"");
        assert_eq!(listed, read("[\"a\", \"b\"]"));
        assert_eq!(
            (listed.id("ab"), listed.id("<|im_end|>"), listed.id("c"), listed.merges.as_slice()),
            (Some(2), Some(3), None, &["a b".to_owned()][..])
        );
        let pairs = [("b", 1), ("a", 0), ("ab", 2)].map(|(text, id)| (text.to_owned(), id));
        let marks = [("<|im_end|>".to_owned(), 3)];
        assert_eq!(listed, Listed::from_merges(&pairs, &[("a".to_owned(), "b".to_owned())], &marks).unwrap());
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        for (kind, json) in [
            (VocabularyKind::T5, "{}"),
            (VocabularyKind::T5, r#"{"model": {"vocab": [["a"]]}}"#),
            (VocabularyKind::T5, r#"{"model": {"vocab": []}, "normalizer": {"precompiled_charsmap": "?"}}"#),
            (VocabularyKind::Qwen, r#"{"model": {"vocab": {"a": -1}, "merges": []}}"#),
            (VocabularyKind::Qwen, r#"{"model": {"vocab": {"a": 99999999999}, "merges": []}}"#),
            (VocabularyKind::Qwen, r#"{"model": {"vocab": {}, "merges": [1]}}"#),
            (VocabularyKind::Qwen, r#"{"model": {"vocab": {}, "merges": []}, "added_tokens": [{"id": 1}]}"#),
        ] {
            assert!(matches!(Listed::from_json(kind, json.as_bytes()), Err(VocabularyError::Unreadable { .. })), "{json}");
        }
    }
}
