//! Reference files that a script of `scripts/parity` writes, made when they are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The folder that `script` wrote, which reads `imports` too: it is written again when one of them changes.
pub(crate) fn made_by(script: &str, imports: &[&str]) -> PathBuf {
    made_with(script, &[], imports)
}

/// The same of a script that is given arguments behind the folder.
pub(crate) fn made_with(script: &str, arguments: &[&str], imports: &[&str]) -> PathBuf {
    // Tests run beside each other, and whoever waits finds it made.
    static MAKING: Mutex<()> = Mutex::new(());
    let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = root.join("scripts/parity");
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for name in [script].iter().chain(imports) {
        for byte in fs::read(scripts.join(name)).unwrap() {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("parity-{script}{}-{digest:016x}", arguments.concat()));
    if !folder.exists() {
        let python = root.join(".venv/bin/python");
        assert!(python.exists(), "{} is missing: run scripts/test once, it installs the reference packages", python.display());
        let unfinished = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the reference side is a Python script")]
        let status = std::process::Command::new(python).arg(scripts.join(script)).arg(unfinished.path()).args(arguments).status().unwrap();
        assert!(status.success(), "{script} failed: {status}");
        // Another test process may have been faster; its folder is as good.
        drop(fs::rename(unfinished.keep(), &folder));
    }
    folder
}
