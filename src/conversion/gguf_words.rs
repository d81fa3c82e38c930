//! What the header of an encoder's GGUF file says of it: its sizes, and the words that it knows where its source brings them.
//!
//! Keys: llama.cpp, `gguf-py/gguf/constants.py`; which of them an encoder has, `convert_hf_to_gguf.py` (`T5EncoderModel`,
//! `Qwen3Model`).

use super::ConversionError;
use super::plan::impossible;
use super::source::Opened;
use crate::families::{FamilyError, QwenConfig, Role, T5Config};
use crate::formats::gguf;
use crate::formats::gguf_value::{Array, Value};
use crate::library::vocabulary::{self, kind_of};
use crate::library::{LibraryError, Roots, header, sources};
use crate::tokens::VocabularyKind;
use crate::tokens::listed::Listed;
use crate::tokens::vocabulary::Place;
use crate::weights::{Catalog, encoder_keys};
use crate::workflow::Kind;

/// What is known of an encoder.
#[derive(Debug)]
pub struct Words {
    /// Its name in `general.architecture`.
    pub architecture: &'static str,
    /// The values of its header, but for those that every file has.
    pub values: Vec<(String, Value)>,
    /// How many heads of queries share one of keys and values.
    pub pairs: u64,
}

/// The smallest number that norms add, of both encoders where nobody says another.
const EPSILON: f64 = 1e-6;
/// The longest text of T5, where a file says none: `n_positions`.
const T5_CONTEXT: u64 = 512;
/// The longest text of Qwen3, where no `config.json` says another: `max_position_embeddings`.
const QWEN_CONTEXT: u64 = 40_960;

/// Returns the words of an encoder whose tensors have llama.cpp's names.
pub fn of_encoder(source: &Opened, role: Role) -> Result<Words, ConversionError> {
    let path = source.origins.first().map_or_else(|| source.path.clone(), |origin| origin.path.clone());
    let wrong = |source: FamilyError| ConversionError::from(LibraryError::Family { path: path.clone(), source });
    let (architecture, sizes, rows, pairs) = match role {
        Role::Qwen => {
            let config = qwen(source, &path).map_err(wrong)?;
            ("qwen3", qwen_sizes(&config, &path), config.vocabulary, config.heads / config.pair_heads.max(1))
        }
        Role::Denoiser | Role::ClipL | Role::ClipG | Role::T5 | Role::Vae => {
            let config = T5Config::read(&encoder_keys::t5(&source.catalog)).map_err(wrong)?;
            ("t5encoder", t5_sizes(&config), config.vocabulary, 1)
        }
    };
    if source.catalog.metadata().contains_key(encoder_keys::QWEN_VL) {
        let reason = "it is the language part of a model that sees, of which such a file would have to say more than its header tells";
        return Err(impossible(&source.path, Kind::Refused, reason.to_owned(), "choose a precision that is stored as safetensors"));
    }
    let own = sizes.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value));
    let mut values = said(source)?;
    let is_new = |values: &[(String, Value)], key: &str| !values.iter().any(|(known, _)| known == key);
    for (key, value) in own.chain(vocabulary_of(source, role, rows as usize)?) {
        if is_new(&values, &key) {
            values.push((key, value));
        }
    }
    Ok(Words { architecture, values, pairs })
}

fn qwen(source: &Opened, path: &std::path::Path) -> Result<QwenConfig, FamilyError> {
    let mut catalog: Catalog = encoder_keys::language_model(&source.catalog);
    if let Some(theta) = sources::rope_theta(path) {
        catalog = catalog.with_note(encoder_keys::ROPE_THETA, &theta.to_string());
    }
    QwenConfig::read(&catalog)
}

fn count(number: u64) -> Value {
    Value::U32(u32::try_from(number).unwrap_or(u32::MAX))
}

fn qwen_sizes(config: &QwenConfig, path: &std::path::Path) -> Vec<(&'static str, Value)> {
    let said = |key: &str| sources::configured(path, &[&format!("/{key}"), &format!("/text_config/{key}")]);
    let context = said("max_position_embeddings").and_then(|number| number.as_u64()).unwrap_or(QWEN_CONTEXT);
    let epsilon = said("rms_norm_eps").and_then(|number| number.as_f64()).unwrap_or(EPSILON);
    vec![
        // The last layer is not computed, and in the file.
        ("block_count", count(config.layers + 1)),
        ("context_length", count(context)),
        ("embedding_length", count(config.width)),
        ("feed_forward_length", count(config.inner_width)),
        ("attention.head_count", count(config.heads)),
        ("attention.head_count_kv", count(config.pair_heads)),
        ("attention.key_length", count(config.head_width)),
        ("attention.value_length", count(config.head_width)),
        ("rope.freq_base", Value::F32(config.theta as f32)),
        ("attention.layer_norm_rms_epsilon", Value::F32(epsilon as f32)),
    ]
}

fn t5_sizes(config: &T5Config) -> Vec<(&'static str, Value)> {
    vec![
        ("context_length", count(T5_CONTEXT)),
        ("embedding_length", count(config.width)),
        ("feed_forward_length", count(config.inner_width)),
        ("block_count", count(config.layers)),
        ("attention.head_count", count(config.heads)),
        ("attention.key_length", count(config.head_width)),
        ("attention.value_length", count(config.head_width)),
        ("attention.layer_norm_epsilon", Value::F32(EPSILON as f32)),
        ("attention.relative_buckets_count", count(config.buckets)),
        ("attention.layer_norm_rms_epsilon", Value::F32(EPSILON as f32)),
    ]
}

/// Keys of a source's header that are said anew, or that are of its own making.
const ANEW: &[&str] =
    &["general.architecture", "general.quantization_version", "general.file_type", "general.alignment", "perilune.", "comfy.", "split."];

/// Returns what a source that is a GGUF file says of itself.
fn said(source: &Opened) -> Result<Vec<(String, Value)>, ConversionError> {
    let Some(file) = source.files.first().filter(|file| file.bytes().starts_with(gguf::MAGIC)) else { return Ok(Vec::new()) };
    let values = header::gguf(file.path())?.values;
    Ok(values.into_iter().filter(|(key, _)| !ANEW.iter().any(|own| key.starts_with(own))).collect())
}

/// Returns the words that lie beside a source, as many as its table has rows.
fn vocabulary_of(source: &Opened, role: Role, rows: usize) -> Result<Vec<(String, Value)>, ConversionError> {
    let files: Vec<_> = source.origins.iter().map(|origin| origin.path.clone()).collect();
    let Some(kind) = kind_of(role) else { return Ok(Vec::new()) };
    // What is installed elsewhere is no part of the source. A vocabulary that cannot be read is none.
    let listed = match vocabulary::find(kind, &files, &Roots::default()) {
        Ok((place @ (Place::Json(_) | Place::Merges(_)), _)) => vocabulary::listed(kind, &place)?,
        // The header's own words are said already.
        Ok((Place::Gguf(_), _)) | Err(_) => return Ok(Vec::new()),
    };
    Ok(listed_values(kind, listed, rows))
}

fn listed_values(kind: VocabularyKind, mut listed: Listed, rows: usize) -> Vec<(String, Value)> {
    listed.fill_up(rows);
    let (model, cut) = match kind {
        VocabularyKind::T5 => ("t5", "default"),
        VocabularyKind::Qwen => ("gpt2", "qwen2"),
    };
    let texts: Vec<&str> = listed.tokens.iter().map(|token| token.text.as_str()).collect();
    let kinds: Vec<i32> = listed.tokens.iter().map(|token| token.kind.number()).collect();
    let mut values = vec![
        ("model", Value::Text(model.to_owned())),
        ("pre", Value::Text(cut.to_owned())),
        ("tokens", Value::Array(Array::of_texts(&texts))),
    ];
    let mut marks = Vec::new();
    match kind {
        VocabularyKind::T5 => {
            let scores: Vec<f32> = listed.tokens.iter().map(|token| token.score).collect();
            values.push(("scores", Value::Array(Array::of_f32(&scores))));
            values.push(("token_type", Value::Array(Array::of_i32(&kinds))));
            values.push(("add_space_prefix", Value::Bool(true)));
            values.push(("remove_extra_whitespaces", Value::Bool(true)));
            values.extend(listed.table.as_ref().map(|table| ("precompiled_charsmap", Value::Array(Array::of_u8(table)))));
            marks.extend([("eos_token_id", "</s>"), ("unknown_token_id", "<unk>"), ("padding_token_id", "<pad>")]);
            values.push(("add_bos_token", Value::Bool(false)));
            values.push(("add_eos_token", Value::Bool(true)));
        }
        VocabularyKind::Qwen => {
            let merges: Vec<&str> = listed.merges.iter().map(String::as_str).collect();
            values.push(("token_type", Value::Array(Array::of_i32(&kinds))));
            values.push(("merges", Value::Array(Array::of_texts(&merges))));
            marks.extend([("eos_token_id", "<|im_end|>"), ("padding_token_id", "<|endoftext|>"), ("bos_token_id", "<|endoftext|>")]);
            values.push(("add_bos_token", Value::Bool(false)));
        }
    }
    values.extend(marks.into_iter().filter_map(|(key, mark)| Some((key, Value::U32(listed.id(mark)?)))));
    values.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_said_as_llama_cpp_reads_them() {
        let json = r#"{"model": {"unk_id": 2, "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["cat", -3.5]]}}"#;
        let listed = Listed::from_json(VocabularyKind::T5, json.as_bytes()).unwrap();
        let values = listed_values(VocabularyKind::T5, listed, 6);
        let value = |key: &str| values.iter().find(|(known, _)| known.strip_prefix("tokenizer.ggml.") == Some(key)).map(|(_, value)| value);
        assert_eq!(value("model"), Some(&Value::Text("t5".to_owned())));
        assert_eq!(
            (value("eos_token_id"), value("unknown_token_id"), value("padding_token_id")),
            (Some(&Value::U32(1)), Some(&Value::U32(2)), Some(&Value::U32(0)))
        );
        let array = |key: &str| value(key).and_then(Value::array).cloned().unwrap();
        assert_eq!(array("tokens").texts().unwrap(), ["<pad>", "</s>", "<unk>", "cat", "[PAD4]", "[PAD5]"]);
        assert_eq!(array("scores").f32s().unwrap()[3..5], [-3.5, -10_000.0]);
        assert_eq!(array("token_type").i32s().unwrap(), [1, 1, 2, 1, 5, 5]);
        assert!(value("precompiled_charsmap").is_none() && value("merges").is_none());
    }
}
