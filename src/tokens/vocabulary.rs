//! T5's and Qwen's tokenizers, from the bytes that models bring: `tokenizer.json`, `vocab.json` with `merges.txt`, or what a
//! GGUF header holds.
//!
//! The crate `tokenizers` is what transformers itself uses. Where a model brings no `tokenizer.json`, the same parts are put
//! together here: T5's as the file of `google/t5-v1_1-xxl` has them, Qwen's as transformers
//! `models/qwen2/tokenization_qwen2.py`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{NFC, NormalizerWrapper, Sequence, Strip};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as Steps;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, ModelWrapper, SplitDelimiterBehavior, Tokenizer};

use super::token::TokenId;

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VocabularyKind {
    /// T5 1.1's 32,100 pieces.
    T5,
    /// Qwen's 151,669 byte pairs and marks.
    Qwen,
}

impl VocabularyKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::T5, Self::Qwen];

    /// Returns the name used in sentences.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::T5 => "T5",
            Self::Qwen => "Qwen",
        }
    }

    /// The marks that prove it, each with its id where that is the same in every file.
    fn proofs(self) -> &'static [(&'static str, Option<u32>)] {
        match self {
            Self::T5 => &[("<pad>", Some(0)), ("</s>", Some(1)), ("<unk>", Some(2))],
            Self::Qwen => &[("<|im_start|>", None), ("<|im_end|>", None)],
        }
    }
}

impl fmt::Display for VocabularyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a vocabulary is read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A `tokenizer.json`.
    Json(PathBuf),
    /// A folder with `vocab.json` and `merges.txt`.
    Merges(PathBuf),
    /// The header of a GGUF file.
    Gguf(PathBuf),
}

impl Place {
    /// Returns the file, or the folder of both.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Json(path) | Self::Merges(path) | Self::Gguf(path) => path,
        }
    }
}

/// Why bytes are no vocabulary, or text cannot be read with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// The bytes are no tokenizer.
    #[error("no tokenizer that can be read: {reason}")]
    Unreadable {
        /// What is wrong with them.
        reason: String,
    },
    /// It is the tokenizer of another model.
    #[error("this is not {kind}'s vocabulary: {reason}")]
    OtherModel {
        /// What was looked for.
        kind: VocabularyKind,
        /// What speaks against it.
        reason: String,
    },
    /// Its tables do not hold together.
    #[error("the text cannot be read with this vocabulary: {reason}")]
    Encoding {
        /// What went wrong.
        reason: String,
    },
}

impl VocabularyError {
    fn unreadable(reason: impl fmt::Display) -> Self {
        Self::Unreadable { reason: reason.to_string().chars().take(LONGEST_REASON).collect() }
    }
}

const LONGEST_REASON: usize = 300;

/// A vocabulary and the rules for using it.
pub struct Vocabulary {
    kind: VocabularyKind,
    inner: Tokenizer,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("kind", &self.kind).field("size", &self.size()).finish_non_exhaustive()
    }
}

/// How Qwen cuts text before it pairs bytes (transformers `models/qwen2/tokenization_qwen2.py`, `PRETOKENIZE_REGEX`).
const QWEN_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What stands for a space.
const SPACE: char = '\u{2581}';
/// T5's piece for what it does not know.
const UNKNOWN: &str = "<unk>";

impl Vocabulary {
    /// Reads a `tokenizer.json`.
    pub fn from_json(kind: VocabularyKind, bytes: &[u8]) -> Result<Self, VocabularyError> {
        let inner = guarded(|| Tokenizer::from_bytes(bytes)).map_err(VocabularyError::unreadable)?;
        Self { kind, inner }.checked()
    }

    /// Puts T5's together: pieces with their scores in order of their ids, those that are marks and no text, and the table by
    /// which text is normalised.
    pub fn from_pieces(pieces: Vec<(String, f64)>, marks: &[String], table: Option<&[u8]>) -> Result<Self, VocabularyError> {
        let kind = VocabularyKind::T5;
        let unknown = pieces.iter().position(|(piece, _)| piece == UNKNOWN);
        let model = guarded(|| Unigram::from(pieces, unknown, false)).map_err(VocabularyError::unreadable)?;
        let mut inner = Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(" {2,}".to_owned()), SPACE.to_string()).map_err(VocabularyError::unreadable)?;
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if let Some(table) = table {
            let table = guarded(|| Precompiled::from(table).map_err(Into::into)).map_err(VocabularyError::unreadable)?;
            steps.push(table.into());
        }
        steps.extend([Strip::new(false, true).into(), spaces.into()]);
        inner.with_normalizer(Some(Sequence::new(steps)));
        inner.with_pre_tokenizer(Some(Metaspace::new(SPACE, PrependScheme::First, true)));
        inner.add_special_tokens(&marks_of(marks));
        Self { kind, inner }.checked()
    }

    /// Puts Qwen's together: byte pairs with their ids, the order in which they are merged, and the marks with theirs.
    pub fn from_merges(pairs: Vec<(String, u32)>, merges: Vec<(String, String)>, marks: &[String]) -> Result<Self, VocabularyError> {
        let kind = VocabularyKind::Qwen;
        let vocabulary: Vocab = pairs.into_iter().collect();
        let model = guarded(|| BPE::builder().vocab_and_merges(vocabulary, merges).build()).map_err(VocabularyError::unreadable)?;
        let mut inner = Tokenizer::new(model);
        let words = Split::new(SplitPattern::Regex(QWEN_WORDS.to_owned()), SplitDelimiterBehavior::Isolated, false);
        let words = words.map_err(VocabularyError::unreadable)?;
        let steps: Vec<PreTokenizerWrapper> = vec![words.into(), ByteLevel::new(false, true, false).into()];
        inner.with_normalizer(Some(NFC));
        inner.with_pre_tokenizer(Some(Steps::new(steps)));
        inner.add_special_tokens(&marks_of(marks));
        Self { kind, inner }.checked()
    }

    /// Fails where it is another model's; what others wish to be cut or filled up is not done here.
    fn checked(mut self) -> Result<Self, VocabularyError> {
        let other = |reason: String| VocabularyError::OtherModel { kind: self.kind, reason };
        let is_kind = match (self.kind, self.inner.get_model()) {
            (VocabularyKind::T5, ModelWrapper::Unigram(_)) | (VocabularyKind::Qwen, ModelWrapper::BPE(_)) => true,
            (VocabularyKind::T5 | VocabularyKind::Qwen, _) => false,
        };
        if !is_kind {
            return Err(other("its model is of another kind".to_owned()));
        }
        for (mark, id) in self.kind.proofs() {
            match (self.inner.token_to_id(mark), id) {
                (None, _) => return Err(other(format!("it has no `{mark}`"))),
                (Some(found), Some(id)) if found != *id => return Err(other(format!("its `{mark}` is {found} and not {id}"))),
                (Some(_), _) => {}
            }
        }
        self.inner.with_padding(None);
        self.inner.with_truncation(None).map_err(VocabularyError::unreadable)?;
        Ok(self)
    }

    /// Returns whose it is.
    #[must_use]
    pub fn kind(&self) -> VocabularyKind {
        self.kind
    }

    /// Returns how many entries it has, marks included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the ids of `text`, without marks around it. Marks that are written in the text are marks.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, VocabularyError> {
        let encoding = guarded(|| self.inner.encode_fast(text, false)).map_err(|reason| VocabularyError::Encoding { reason })?;
        Ok(encoding.get_ids().iter().map(|id| TokenId(*id)).collect())
    }
}

fn marks_of(marks: &[String]) -> Vec<AddedToken> {
    marks.iter().map(|mark| AddedToken::from(mark.clone(), true).normalized(false)).collect()
}

/// Tables of strangers are walked without being checked, and may point outside themselves: that is an error here, too.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("its tables do not hold together".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<(String, f64)> {
        let list = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u{2581}", -2.0), ("\u{2581}cat", -5.0), ("s", -3.0), ("<mark>", 0.0)];
        list.map(|(piece, score)| (piece.to_owned(), score)).to_vec()
    }

    fn ids(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
        vocabulary.encode(text).unwrap().into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn pieces_are_put_together() {
        let t5 = Vocabulary::from_pieces(pieces(), &["<pad>".to_owned(), "</s>".to_owned(), "<mark>".to_owned()], None).unwrap();
        assert_eq!((t5.kind(), t5.size()), (VocabularyKind::T5, 7));
        assert_eq!(ids(&t5, "cats"), [4, 5]);
        assert_eq!(ids(&t5, "cats cat  "), [4, 5, 4]);
        assert_eq!(ids(&t5, "cat<mark>"), [4, 6]);
        assert_eq!(ids(&t5, "cat zz")[1..], [3, 2]);
        assert!(ids(&t5, "").is_empty());
    }

    #[test]
    fn pairs_are_merged_in_their_order() {
        let pairs = ["c", "a", "t", "at", "cat", "\u{120}", "<|im_start|>", "<|im_end|>"];
        let pairs: Vec<(String, u32)> = (0..).zip(pairs).map(|(id, p)| (p.to_owned(), id)).collect();
        let merges = [("a", "t"), ("c", "at")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        let marks = ["<|im_start|>".to_owned(), "<|im_end|>".to_owned()];
        let qwen = Vocabulary::from_merges(pairs, merges, &marks).unwrap();
        assert_eq!(ids(&qwen, "cat at"), [4, 5, 3]);
        assert_eq!(ids(&qwen, "<|im_start|>cat<|im_end|>"), [6, 4, 7]);
    }

    #[test]
    fn another_models_vocabulary_is_refused() {
        let mut others = pieces();
        others.swap(0, 1);
        let error = Vocabulary::from_pieces(others, &[], None).unwrap_err();
        assert_eq!(error.to_string(), "this is not T5's vocabulary: its `<pad>` is 1 and not 0");
        let pairs = vec![("c".to_owned(), 0)];
        let error = Vocabulary::from_merges(pairs, Vec::new(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "this is not Qwen's vocabulary: it has no `<|im_start|>`");
        let error = Vocabulary::from_json(VocabularyKind::T5, b"{\"version\": 1}").unwrap_err();
        assert!(error.to_string().starts_with("no tokenizer that can be read: "), "{error}");
    }

    #[test]
    fn tables_that_point_outside_themselves_are_an_error() {
        for table in [&b""[..], &[0; 3], &[4, 0, 0, 0, 255, 255, 255, 255], &[4, 0, 0, 0, 255, 255, 255, 0x7f, 0, 0]] {
            let read = Vocabulary::from_pieces(pieces(), &[], Some(table)).and_then(|v| v.encode("a text \u{fb01}"));
            assert!(read.is_err() || read.is_ok(), "no panic");
        }
    }
}
