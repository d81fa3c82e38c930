//! A stand-in for the NVIDIA library, one of its own for each test, driven by a state file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use tempfile::TempDir;

/// The library's number for "this GPU has gone".
pub(crate) const GPU_LOST: i64 = 15;
/// A number that the binding has no name for: GPU not found.
pub(crate) const GPU_NOT_FOUND: i64 = 28;
/// The library's number for an unknown error.
pub(crate) const UNKNOWN: i64 = 999;
/// The library's number for "not supported".
pub(crate) const NOT_SUPPORTED: i64 = 3;

/// A library of one test. What it says is set by key, as `nvml_stub.c` lists them.
pub(crate) struct NvmlStub {
    folder: TempDir,
    state: Mutex<BTreeMap<String, i64>>,
}

impl NvmlStub {
    /// Returns a library with two healthy GPUs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libnvidia-ml.so.1"), image()).unwrap();
        Self { folder, state: Mutex::default() }
    }

    /// Returns where the library lies.
    pub(crate) fn library(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    /// Sets what the library says from now on.
    pub(crate) fn set(&self, key: &str, value: i64) {
        self.change(|state| {
            state.insert(key.to_owned(), value);
        });
    }

    /// Takes back what was set.
    pub(crate) fn unset(&self, key: &str) {
        self.change(|state| {
            state.remove(key);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, i64>)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        let lines: Vec<String> = state.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // A rename, for the library may be reading just now.
        let whole = self.folder.path().join("state.new");
        fs::write(&whole, lines.join("\n")).unwrap();
        fs::rename(&whole, self.folder.path().join("state")).unwrap();
    }

    /// Forgets the calls so far and notes those that come.
    pub(crate) fn note_calls(&self) {
        fs::write(self.folder.path().join("calls"), "").unwrap();
    }

    /// Returns the calls since `note_calls`, each `<gpu> <call>`.
    pub(crate) fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.folder.path().join("calls")).unwrap().lines().map(str::to_owned).collect()
    }
}

/// The compiled library, compiled once. A file of its own for each test makes the loader load it anew.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("stub.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/nvml_stub.c");
        #[expect(clippy::disallowed_methods, reason = "a test may start the C compiler")]
        let mut cc = Command::new("cc");
        let built = cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&out).args([source, "-ldl"]).output();
        match built {
            Ok(output) if output.status.success() => fs::read(&out).unwrap(),
            Ok(output) => panic!("cc cannot build the NVML stub:\n{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                panic!("the tests of telemetry need a C compiler; `cc` does not start: {error}. On Debian: apt install gcc libc6-dev")
            }
        }
    })
}
