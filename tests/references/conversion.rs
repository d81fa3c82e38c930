//! Whole converted files, read by the programs that their formats come from.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Every kind of file that is written.
const TARGETS: &str = "fp32,bf16,fp8_e4m3fn,fp8_e5m2,nf4,int8,Q8_0,Q4_0,sdnq_int8,sdnq_uint4,sdnq_int5";

pub(crate) fn convert(home: &Path, source: &Path, to: &str, folder: &str) {
    run(home, source, &["--to", to, "-o", folder]);
}

#[expect(clippy::disallowed_methods, reason = "tests start the program they test")]
pub(crate) fn run(home: &Path, source: &Path, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perilune"));
    command.env("PERILUNE_HOME", home).current_dir(home).arg("convert").arg(source).args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_programs_of_each_format_read_what_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = tempfile::tempdir().unwrap();
    convert(home.path(), &root.join("scripts/moonlet/moonlet.safetensors"), "fp16", "source");
    let source = home.path().join("source/net.safetensors");
    fs::rename(home.path().join("source/moonlet_fp16.safetensors"), &source).unwrap();
    convert(home.path(), &source, TARGETS, "made");
    for blocks in ["Q8_0", "Q4_0"] {
        convert(home.path(), &home.path().join(format!("made/net_{blocks}.gguf")), "fp32", "back");
        let back = home.path().join(format!("made/net_{blocks}_back_fp32.safetensors"));
        fs::rename(home.path().join("back/net_fp32.safetensors"), back).unwrap();
    }
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/test once, it installs the reference packages", python.display());
    #[expect(clippy::disallowed_methods, reason = "the reference side is a Python script")]
    let output =
        Command::new(python).arg(root.join("scripts/parity/conversion.py")).arg(source).arg(home.path().join("made")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.lines().count(), TARGETS.split(',').count(), "{told}");
}
