//! The scripts around the build: what they say where something of the system's is missing.

#![expect(clippy::disallowed_methods, reason = "tests start the scripts they test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs `scripts/venv` in a folder of its own, with this text as `python3`; returns the exit code and what it said.
fn make_venv(root: &Path, python: &str) -> (Option<i32>, String) {
    let (scripts, tools) = (root.join("scripts"), root.join("tools"));
    fs::create_dir_all(&scripts).unwrap();
    fs::create_dir_all(&tools).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/venv"), scripts.join("venv")).unwrap();
    fs::write(tools.join("python3"), python).unwrap();
    fs::set_permissions(tools.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let output = Command::new(scripts.join("venv")).env_clear().env("PATH", path).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn where_venv_is_missing_its_package_is_named_and_nothing_half_made_stays() {
    let root = tempfile::tempdir().unwrap();
    // As Debian's: the folder and its python are there before the module finds that it has no ensurepip.
    let debian = "#!/bin/sh\nif [ \"$1\" = -c ]; then echo 3.11; exit; fi\n\
        mkdir -p .venv/bin && printf '#!/bin/sh\\nexit 1\\n' > .venv/bin/python && chmod +x .venv/bin/python; exit 1\n";
    let (code, said) = make_venv(root.path(), debian);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: python3 cannot make a virtual environment"), "{said}");
    assert!(said.contains("apt install python3-venv, or python3.11-venv"), "{said}");
    assert!(!root.path().join(".venv").exists());

    let whole = "#!/bin/sh\nmkdir -p .venv/bin && printf '#!/bin/sh\\n' > .venv/bin/python && chmod +x .venv/bin/python\n";
    assert_eq!(make_venv(root.path(), whole), (Some(0), String::new()));
    assert_eq!(make_venv(root.path(), debian), (Some(0), String::new()), "one that works stays");
}
