//! Tokens of 200 prompts beside those of transformers, from every form in which models bring vocabularies.

use std::path::{Path, PathBuf};

use perilune::library::vocabulary::read;
use perilune::tokens::chunks::{Chunking, Filler, Piece, windows};
use perilune::tokens::vocabulary::Place;
use perilune::tokens::{VocabularyKind, chat, clip_bpe};
use serde::Deserialize;

use crate::made::made_by;

#[derive(Deserialize)]
struct Answer {
    texts: Vec<String>,
    clip: Vec<Vec<u32>>,
    windows: Windows,
    vocabularies: Vec<Theirs>,
}

#[derive(Deserialize)]
struct Windows {
    clip_l: Vec<Vec<u32>>,
    clip_g: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Theirs {
    kind: VocabularyKind,
    places: Vec<PathBuf>,
    ids: Vec<Vec<u32>>,
}

fn answer() -> (PathBuf, Answer) {
    let folder = made_by("encoder_tokens.py", &["clip_tokens.py"]);
    let answer: Answer = serde_json::from_slice(&std::fs::read(folder.join("answer.json")).unwrap()).unwrap();
    assert_eq!(answer.texts.len(), 200);
    (folder, answer)
}

fn place(path: PathBuf) -> Place {
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => Place::Json(path),
        Some("gguf") => Place::Gguf(path),
        _ => Place::Merges(path),
    }
}

/// Fails with every text that is read otherwise.
fn same(what: &str, texts: &[String], ours: impl Fn(&str) -> Vec<u32>, theirs: &[Vec<u32>]) {
    let read = texts.iter().zip(theirs).map(|(text, theirs)| (text, ours(text), theirs));
    let wrong: Vec<String> = read
        .filter(|(_, ours, theirs)| ours != *theirs)
        .map(|(text, ours, theirs)| format!("{text:?}: {ours:?} is not {theirs:?}"))
        .collect();
    assert!(wrong.is_empty(), "{what}: {} of {}\n{}", wrong.len(), texts.len(), wrong.join("\n"));
}

#[test]
fn clip_reads_the_same_tokens_and_fills_windows_as_either_encoder_does() {
    let (_, answer) = answer();
    let plain = |text: &str| clip_bpe::encode(text).into_iter().map(|id| id.0).collect::<Vec<_>>();
    same("CLIP", &answer.texts, plain, &answer.clip);
    // Theirs have one window, and cut what is longer.
    let short: Vec<usize> = (0..200).filter(|n| answer.clip[*n].len() <= 75).collect();
    assert!(short.len() > 100, "{}", short.len());
    let of = |all: &[Vec<u32>]| short.iter().map(|n| all[*n].clone()).collect::<Vec<_>>();
    let texts: Vec<String> = short.iter().map(|n| answer.texts[*n].clone()).collect();
    for (filler, theirs) in [(Filler::End, &answer.windows.clip_l), (Filler::Zero, &answer.windows.clip_g)] {
        for chunking in [Chunking::A1111, Chunking::Comfy] {
            let window = |text: &str| windows(&[Piece::words(text, 1.0)], chunking)[0].filled(filler).map(|id| id.0).collect();
            same(&format!("{filler:?}"), &texts, window, &of(theirs));
        }
    }
}

#[test]
fn t5_and_qwen_read_the_same_tokens_from_every_form() {
    let (folder, answer) = answer();
    for theirs in &answer.vocabularies {
        for path in &theirs.places {
            let place = place(folder.join(path));
            let vocabulary = read(theirs.kind, &place).unwrap();
            let ours = |text: &str| vocabulary.encode(text).unwrap().into_iter().map(|id| id.0).collect();
            same(&path.display().to_string(), &answer.texts, ours, &theirs.ids);
            let other = VocabularyKind::ALL.into_iter().find(|k| *k != theirs.kind).unwrap();
            let error = read(other, &place).unwrap_err().to_string();
            assert!(error.contains("this is not"), "{error}");
        }
    }
    let real = answer.vocabularies.iter().any(|v| v.places[0].starts_with("t5-real"));
    assert!(real || !Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().any(|a| a.join("shared/data/tokenizers").is_dir()));
}

/// The frame of a question, of which the marks must be marks.
#[test]
fn z_images_prompts_are_framed_in_qwens_words() {
    let (folder, answer) = answer();
    for theirs in answer.vocabularies.iter().filter(|v| v.kind == VocabularyKind::Qwen) {
        let vocabulary = read(theirs.kind, &place(folder.join(&theirs.places[0]))).unwrap();
        let id = |text: &str| vocabulary.encode(text).unwrap();
        let (begin, end) = (id("<|im_start|>"), id("<|im_end|>"));
        assert_eq!((begin.len(), end.len()), (1, 1));
        let (ids, cut) = chat::encode("a moon (over:1.2) the sea", &vocabulary).unwrap();
        let parts = [begin.clone(), id("user\n"), id("a moon (over:1.2) the sea"), end, id("\n"), begin, id("assistant\n")];
        assert_eq!((ids, cut), (parts.concat(), 0));
        let (ids, cut) = chat::encode(&"moon ".repeat(600), &vocabulary).unwrap();
        assert!(ids.len() == 512 && cut > 80, "{cut}");
    }
}
