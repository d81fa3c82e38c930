//! Text encoders in GGUF files, read by transformers and gguf-py.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use perilune::library::{Roots, vocabulary};
use perilune::tokens::VocabularyKind;

use crate::conversion::convert;
use crate::made::made_by;

const SCRIPT: &str = "encoder_files.py";

/// Every kind of file, from every kind of source.
const TARGETS: &str = "Q8_0,Q6_K,Q4_K_M,Q4_0";

#[test]
fn transformers_computes_with_encoders_that_were_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = made_by(SCRIPT, &["flow_pictures.py", "seeded.py"]);
    let home = tempfile::tempdir().unwrap();
    for (encoder, kind, text) in [("t5", VocabularyKind::T5, "a moon, the moon."), ("qwen", VocabularyKind::Qwen, "a moon <|im_end|>")] {
        convert(home.path(), &written.join(encoder), TARGETS, "made");
        // A part that is no network is named in its file's name.
        for to in TARGETS.split(',') {
            let made = home.path().join(format!("made/{encoder}_{encoder}_{to}.gguf"));
            fs::rename(&made, home.path().join(format!("made/{encoder}_{to}.gguf"))).unwrap();
        }
        let read = |weights: PathBuf| vocabulary::find(kind, &[weights], &Roots::default()).unwrap().1.encode(text).unwrap();
        let ids = read(written.join(encoder).join("model.safetensors"));
        assert!(!ids.is_empty() && read(home.path().join(format!("made/{encoder}_Q8_0.gguf"))) == ids, "{encoder}");
    }
    #[expect(clippy::disallowed_methods, reason = "the reference side is a Python script")]
    let mut python = Command::new(root.join(".venv/bin/python"));
    let done = python.arg(root.join("scripts/parity").join(SCRIPT)).arg(&written).arg(home.path().join("made")).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(told.lines().filter(|line| line.contains("off by")).count(), 8, "{told}");
}
