//! The fuzz targets in every test run: each compiles without a nightly toolchain, and takes its seeds and what is like them.
//!
//! They find their macro where `libfuzzer_sys` would be: `main.rs` has this binary go by that name, too.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// Declares targets and lists them by name.
macro_rules! targets {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[path = $path]
            #[expect(unused_attributes, reason = "a target is a program of its own, without a `main`")]
            mod $name;
        )*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets! {
    filter: "../fuzz/targets/filter.rs",
    frame: "../fuzz/targets/frame.rs",
    gguf: "../fuzz/targets/gguf.rs",
    picture_text: "../fuzz/targets/picture_text.rs",
    prompt: "../fuzz/targets/prompt.rs",
    safetensors: "../fuzz/targets/safetensors.rs",
    shard_index: "../fuzz/targets/shard_index.rs",
}

/// Makes a function of a target's closure. Bytes that are no text are nothing to a target that takes texts. It stands below the
/// targets, which would have it without its path above them.
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $body:block) => {
        pub(crate) fn run($input: &[u8]) $body
    };
    (|$input:ident: &str| $body:block) => {
        pub(crate) fn run(bytes: &[u8]) {
            if let Ok($input) = std::str::from_utf8(bytes) $body
        }
    };
}
pub(crate) use fuzz_target;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

/// The names of what lies in a folder, without their endings.
fn names(of: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(of)).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    fs::read_dir(folder("seeds").join(target)).unwrap().map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_target_is_here_and_has_seeds() {
    let here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("targets"), here);
    assert_eq!(names("seeds"), here);
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for seed in seeds {
            run(&seed);
        }
    }
}

proptest! {
    #[test]
    fn every_target_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, run) in TARGETS {
            run(&bytes);
        }
    }

    /// Seeds with a part of them written over or cut out.
    #[test]
    fn every_target_takes_what_is_like_its_seeds(
        at in any::<prop::sample::Index>(),
        gone in 0usize..4,
        new in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        for (name, run) in TARGETS {
            for seed in seeds(name) {
                let from = at.index(seed.len());
                let to = (from + gone).min(seed.len());
                run(&[&seed[..from], &new, &seed[to..]].concat());
            }
        }
    }
}
