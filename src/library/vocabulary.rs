//! Finds the vocabularies that T5 and Qwen need and that no program may carry: beside the weights, in a GGUF file's own header,
//! in a folder that the operator names, or in a `ComfyUI` that is installed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::scan::{FolderKind, Roots};
use super::{LibraryError, header, regular};
use crate::families::Role;
use crate::formats::gguf_value::{Array, Value};
use crate::formats::{FileKind, gguf, sniff};
use crate::tokens::listed::Listed;
use crate::tokens::vocabulary::Place;
use crate::tokens::{Vocabulary, VocabularyError, VocabularyKind};

/// A place that was looked at in vain, and why it would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Where.
    pub place: PathBuf,
    /// What was there, where anything was.
    pub problem: Option<String>,
}

/// Returns whose words a part needs, where no program may carry them.
#[must_use]
pub fn kind_of(role: Role) -> Option<VocabularyKind> {
    match role {
        Role::T5 => Some(VocabularyKind::T5),
        Role::Qwen => Some(VocabularyKind::Qwen),
        Role::Denoiser | Role::ClipL | Role::ClipG | Role::Vae => None,
    }
}

/// Returns the vocabulary for weights in these files, and where it is. The most particular place wins: what lies beside the
/// weights or in them, then what the operator names, then what is installed.
pub fn find(kind: VocabularyKind, weights: &[PathBuf], roots: &Roots) -> Result<(Place, Vocabulary), LibraryError> {
    let mut tried: Vec<Tried> = Vec::new();
    for place in places(kind, weights, roots) {
        if tried.iter().any(|t| t.place == place.path()) {
            continue;
        }
        match candidates(&place) {
            Some(place) => match read(kind, &place) {
                Ok(vocabulary) => return Ok((place, vocabulary)),
                Err(error) => tried.push(Tried { place: place.path().to_owned(), problem: Some(problem(error)) }),
            },
            None => tried.push(missing(place.path())),
        }
    }
    Err(LibraryError::NoVocabulary { kind, tried })
}

/// Reads a vocabulary from its place.
pub fn read(kind: VocabularyKind, place: &Place) -> Result<Vocabulary, LibraryError> {
    let wrong = |source| LibraryError::Vocabulary { path: place.path().to_owned(), source };
    match place {
        Place::Json(path) => Vocabulary::from_json(kind, &regular::read(path)?).map_err(wrong),
        Place::Merges(folder) => merges(kind, folder),
        Place::Gguf(path) => {
            let header = header::gguf(path)?;
            from_header(kind, &header).map_err(wrong)
        }
    }
}

/// Returns every place to look at, in order; folders stand for whatever they hold.
fn places(kind: VocabularyKind, weights: &[PathBuf], roots: &Roots) -> Vec<Place> {
    let mut places = Vec::new();
    for path in weights {
        if is_gguf(path) {
            places.push(Place::Gguf(path.clone()));
        }
        let Some(folder) = path.parent() else { continue };
        places.push(Place::Merges(folder.to_owned()));
        // diffusers keeps `text_encoder_2`'s in `tokenizer_2`.
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(number) = name.strip_prefix("text_encoder") {
            places.push(Place::Merges(folder.with_file_name(format!("tokenizer{number}"))));
        }
    }
    for folder in &roots.tokenizers {
        places.push(Place::Merges(folder.clone()));
        places.extend(names(kind).iter().map(|name| Place::Merges(folder.join(name))));
    }
    // ComfyUI keeps its models and its program in one folder.
    let folders = roots.models.iter().map(PathBuf::as_path).chain(roots.extra.iter().map(|(_, path)| path.as_path()));
    let installed = folders.flat_map(|folder| folder.ancestors().take(MODELS_DEPTH)).map(|above| above.join("comfy/text_encoders"));
    let installed = installed.filter(|folder| folder.is_dir());
    places.extend(installed.flat_map(|folder| names(kind).iter().map(move |name| Place::Merges(folder.join(name)))));
    places.extend(roots.folders(FolderKind::TextEncoders).map(Place::Merges));
    places
}

/// How far above a folder of models the program that it belongs to may lie.
const MODELS_DEPTH: usize = 4;

/// Returns what folders of this vocabulary are called, `ComfyUI`'s name first.
fn names(kind: VocabularyKind) -> &'static [&'static str] {
    match kind {
        VocabularyKind::T5 => &["t5_tokenizer", "t5"],
        VocabularyKind::Qwen => &["qwen25_tokenizer", "qwen3_tokenizer", "qwen25", "qwen3", "qwen"],
    }
}

/// Returns what a folder holds; a file is what it is.
fn candidates(place: &Place) -> Option<Place> {
    let Place::Merges(folder) = place else { return Some(place.clone()) };
    let json = folder.join("tokenizer.json");
    if json.is_file() {
        return Some(Place::Json(json));
    }
    (folder.join("vocab.json").is_file() && folder.join("merges.txt").is_file()).then(|| place.clone())
}

fn missing(folder: &Path) -> Tried {
    let only = folder.join("spiece.model").is_file();
    let problem = only.then(|| "it holds only spiece.model, which is not read; the model's tokenizer.json is".to_owned());
    Tried { place: folder.to_owned(), problem }
}

fn problem(error: LibraryError) -> String {
    match error {
        LibraryError::Vocabulary { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

fn is_gguf(path: &Path) -> bool {
    let head = || {
        let mut head = Vec::new();
        let mut file: File = regular::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        std::io::Read::read_to_end(&mut std::io::Read::take(&mut file, sniff::SNIFF_BYTES as u64), &mut head).ok()?;
        sniff::sniff(&head, length).ok()
    };
    head() == Some(FileKind::Gguf)
}

/// Returns the vocabulary at a place outside GGUF files in lists.
pub fn listed(kind: VocabularyKind, place: &Place) -> Result<Listed, LibraryError> {
    let wrong = |source| LibraryError::Vocabulary { path: place.path().to_owned(), source };
    match place {
        Place::Json(path) => Listed::from_json(kind, &regular::read(path)?).map_err(wrong),
        Place::Merges(folder) => {
            let Pairs { pairs, merges, marks } = pairs_in(kind, folder)?;
            Listed::from_merges(&pairs, &merges, &marks).map_err(wrong)
        }
        Place::Gguf(_) => Err(wrong(VocabularyError::Unreadable { reason: "its lists are in its header".to_owned() })),
    }
}

/// What a folder holds whose vocabulary is in two files.
struct Pairs {
    pairs: Vec<(String, u32)>,
    merges: Vec<(String, String)>,
    marks: Vec<(String, u32)>,
}

fn merges(kind: VocabularyKind, folder: &Path) -> Result<Vocabulary, LibraryError> {
    let Pairs { pairs, merges, marks } = pairs_in(kind, folder)?;
    let names: Vec<String> = marks.iter().map(|(mark, _)| mark.clone()).collect();
    let wrong = |source| LibraryError::Vocabulary { path: folder.to_owned(), source };
    Vocabulary::from_merges(pairs.into_iter().chain(marks).collect(), merges, &names).map_err(wrong)
}

/// Reads `vocab.json` and `merges.txt`, and the marks of `tokenizer_config.json`.
fn pairs_in(kind: VocabularyKind, folder: &Path) -> Result<Pairs, LibraryError> {
    let wrong = |source| LibraryError::Vocabulary { path: folder.to_owned(), source };
    let unreadable = |reason: String| wrong(VocabularyError::Unreadable { reason });
    if kind != VocabularyKind::Qwen {
        return Err(wrong(VocabularyError::OtherModel { kind, reason: "its words are pairs of bytes".to_owned() }));
    }
    let vocabulary = regular::read(&folder.join("vocab.json"))?;
    let pairs: BTreeMap<String, u32> = serde_json::from_slice(&vocabulary).map_err(|e| unreadable(format!("vocab.json: {e}")))?;
    let text = String::from_utf8(regular::read(&folder.join("merges.txt"))?).map_err(|e| unreadable(format!("merges.txt: {e}")))?;
    let lines = text.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    let merges: Vec<(String, String)> = lines.filter_map(pair).collect();
    let marks = match regular::read(&folder.join("tokenizer_config.json")) {
        Ok(bytes) => marks(&bytes),
        Err(LibraryError::NotFound { .. }) => Vec::new(),
        Err(other) => return Err(other),
    };
    let marks = if marks.is_empty() { QWEN_MARKS.map(|(id, mark)| (mark.to_owned(), id)).to_vec() } else { marks };
    Ok(Pairs { pairs: pairs.into_iter().collect(), merges, marks })
}

/// The marks that prompts need, where a folder names none.
const QWEN_MARKS: [(u32, &str); 3] = [(151_643, "<|endoftext|>"), (151_644, "<|im_start|>"), (151_645, "<|im_end|>")];

fn marks(configuration: &[u8]) -> Vec<(String, u32)> {
    let json: Json = serde_json::from_slice(configuration).unwrap_or_default();
    let listed = json.get("added_tokens_decoder").and_then(Json::as_object);
    let mark = |(id, token): (&String, &Json)| Some((token.get("content")?.as_str()?.to_owned(), id.parse().ok()?));
    listed.into_iter().flatten().filter_map(mark).collect()
}

fn pair(line: &str) -> Option<(String, String)> {
    line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))
}

/// llama.cpp's kinds of tokens (`include/llama.h`, `llama_token_type`): what is a mark, and what only fills a table up.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USERS: i32 = 4;
const UNUSED: i32 = 5;

/// Puts a vocabulary together from the words of a GGUF header (`ggml/docs/gguf.md`, `tokenizer.ggml.*`).
fn from_header(kind: VocabularyKind, header: &gguf::Header) -> Result<Vocabulary, VocabularyError> {
    let lacking = |key: &str| VocabularyError::Unreadable { reason: format!("the header has no `{PREFIX}{key}`") };
    let array = |key: &str| header.value(&format!("{PREFIX}{key}")).and_then(Value::array);
    let model = header.value("tokenizer.ggml.model").and_then(Value::plain).ok_or_else(|| lacking("model"))?;
    let wanted = match kind {
        VocabularyKind::T5 => "t5",
        VocabularyKind::Qwen => "gpt2",
    };
    if model != wanted {
        return Err(VocabularyError::OtherModel {
            kind,
            reason: format!("the header says `{}`", model.chars().take(40).collect::<String>()),
        });
    }
    let mut tokens = array("tokens").and_then(Array::texts).ok_or_else(|| lacking("tokens"))?;
    let types = array("token_type").and_then(Array::i32s).unwrap_or_default();
    while types.get(tokens.len().wrapping_sub(1)) == Some(&UNUSED) {
        tokens.pop();
    }
    let is_mark = |kind: &i32| [UNKNOWN, CONTROL, USERS].contains(kind);
    let marks: Vec<String> = tokens.iter().zip(&types).filter(|(_, kind)| is_mark(kind)).map(|(token, _)| token.clone()).collect();
    match kind {
        VocabularyKind::T5 => {
            let scores = array("scores").and_then(Array::f32s).ok_or_else(|| lacking("scores"))?;
            let pieces = tokens.into_iter().zip(scores.into_iter().map(f64::from)).collect();
            Vocabulary::from_pieces(pieces, &marks, array("precompiled_charsmap").and_then(Array::octets))
        }
        VocabularyKind::Qwen => {
            let merges = array("merges").and_then(Array::texts).ok_or_else(|| lacking("merges"))?;
            let pairs = tokens.into_iter().zip(0..).collect();
            Vocabulary::from_merges(pairs, merges.iter().filter_map(|m| pair(m)).collect(), &marks)
        }
    }
}

const PREFIX: &str = "tokenizer.ggml.";

#[cfg(test)]
mod tests {
    use super::*;

    const T5: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},"post_processor":null,"decoder":null,
        "model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0.0],["</s>",0.0],["<unk>",0.0],["▁cat",-1.0]],"byte_fallback":false}}"#;

    struct Fixture {
        folder: tempfile::TempDir,
        roots: Roots,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let roots = Roots { models: vec![folder.path().join("comfy-root/models")], ..Roots::default() };
            Self { folder, roots }
        }

        fn put(&self, path: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }

        fn found(&self, weights: &str) -> Result<PathBuf, LibraryError> {
            let weights = [self.folder.path().join(weights)];
            find(VocabularyKind::T5, &weights, &self.roots).map(|(place, _)| place.path().strip_prefix(self.folder.path()).unwrap().into())
        }
    }

    #[test]
    fn the_nearest_vocabulary_wins() {
        let mut fixture = Fixture::new();
        let weights = "flux/text_encoder_2/model.safetensors";
        fixture.put("comfy-root/comfy/text_encoders/t5_tokenizer/tokenizer.json", T5);
        std::fs::create_dir_all(fixture.folder.path().join("comfy-root/models")).unwrap();
        assert_eq!(fixture.found(weights).unwrap(), Path::new("comfy-root/comfy/text_encoders/t5_tokenizer/tokenizer.json"));
        fixture.put("named/t5/tokenizer.json", T5);
        fixture.roots.tokenizers = vec![fixture.folder.path().join("named")];
        assert_eq!(fixture.found(weights).unwrap(), Path::new("named/t5/tokenizer.json"));
        fixture.put("flux/tokenizer_2/tokenizer.json", T5);
        assert_eq!(fixture.found(weights).unwrap(), Path::new("flux/tokenizer_2/tokenizer.json"));
        fixture.put("flux/text_encoder_2/tokenizer.json", "{}");
        assert_eq!(fixture.found(weights).unwrap(), Path::new("flux/tokenizer_2/tokenizer.json"), "what cannot be read is passed over");
    }

    #[test]
    fn what_was_tried_is_told() {
        let mut fixture = Fixture::new();
        fixture.roots.tokenizers = vec![fixture.folder.path().join("named")];
        fixture.put("named/spiece.model", "");
        fixture.put("t5.safetensors", "");
        fixture.put("tokenizer.json", "{}");
        let error = fixture.found("t5.safetensors").unwrap_err();
        let text = error.to_string().replace(&fixture.folder.path().display().to_string(), "");
        assert!(
            text.contains("T5's vocabulary was not found") && text.contains("/tokenizer.json (no tokenizer that can be read"),
            "{text}"
        );
        assert!(text.contains("/named (it holds only spiece.model") && text.contains("/named/t5,"), "{text}");
        assert!(error.hint().contains("tokenizers:"), "{}", error.hint());
    }

    #[test]
    fn pairs_and_merges_are_qwens() {
        let fixture = Fixture::new();
        fixture.put("q/vocab.json", r#"{"c": 0, "a": 1, "t": 2, "at": 3}"#);
        fixture.put("q/merges.txt", "#version: 0.2\na t\n");
        fixture.put(
            "q/tokenizer_config.json",
            r#"{"added_tokens_decoder": {"4": {"content": "<|im_start|>"}, "5": {"content": "<|im_end|>"}}}"#,
        );
        let weights = [fixture.folder.path().join("q/model.safetensors")];
        let (place, qwen) = find(VocabularyKind::Qwen, &weights, &fixture.roots).unwrap();
        assert_eq!(place, Place::Merges(fixture.folder.path().join("q")));
        assert_eq!(qwen.encode("<|im_end|>cat").unwrap().iter().map(|id| id.0).collect::<Vec<_>>(), [5, 0, 3]);
        assert!(matches!(find(VocabularyKind::T5, &weights, &fixture.roots), Err(LibraryError::NoVocabulary { .. })));
    }
}
