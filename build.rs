//! Names this build, and tells the linker where the engine finds libtorch at run time.

#![expect(clippy::disallowed_methods, reason = "build scripts are told everything through the environment")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    name_the_build();
    if env::var_os("CARGO_FEATURE_ENGINE").is_some() {
        link_libtorch();
        compile_what_tch_lacks();
    }
}

/// What tch lacks, in a few lines of C++ over libtorch's own headers.
fn compile_what_tch_lacks() {
    let include = libtorch().join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .warnings(false)
        .files(["src/engine/allocator.cpp", "src/engine/inference.cpp", "src/engine/nn/product.cpp"])
        .compile("perilune_engine_cpp");
}

/// Two programs of one build speak with each other; a digest of the sources tells builds apart.
fn name_the_build() {
    println!("cargo::rerun-if-changed=src");
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    feed(Path::new("src"), &mut digest);
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=PERILUNE_BUILD={version}+{:08x}", digest >> 32);
}

/// FNV-1a over every file, in order of the names.
fn feed(path: &Path, digest: &mut u64) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        entries.sort();
        for entry in &entries {
            feed(entry, digest);
        }
    } else if let Ok(bytes) = fs::read(path) {
        for byte in bytes {
            *digest = (*digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn libtorch() -> PathBuf {
    env::var_os("LIBTORCH").map_or_else(|| PathBuf::from(".libtorch/torch"), PathBuf::from)
}

/// The version stands in a file that the wheel and the archive have each under another name.
fn name_libtorch() {
    let read = |name: &str| fs::read_to_string(libtorch().join(name)).ok();
    let wheel = || read("version.py")?.lines().find_map(|l| l.strip_prefix("__version__ = ")).map(|v| v.trim_matches('\'').to_owned());
    let version = read("build-version").map(|v| v.trim().to_owned()).or_else(wheel);
    let version = version.map(|v| format!(" {v}")).unwrap_or_default();
    println!("cargo::rustc-env=PERILUNE_LIBTORCH={version}");
}

fn link_libtorch() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    name_libtorch();
    // Installed beside its libraries, or run from target/{debug,release} of a checkout.
    let mut places = vec!["$ORIGIN/../lib/perilune".to_owned(), "$ORIGIN/../../.libtorch/torch/lib".to_owned()];
    // A target folder elsewhere, and a LIBTORCH of the builder's own.
    if let Some(libtorch) = env::var_os("LIBTORCH") {
        let lib = PathBuf::from(libtorch).join("lib");
        places.push(lib.canonicalize().unwrap_or(lib).display().to_string());
    }
    let paths = format!("-Wl,-rpath,{}", places.join(":"));
    if env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        // Not optimised, even the client carries the engine's code: the linker finds it among its own. Tests need the path too.
        println!("cargo::rustc-link-arg={paths}");
    } else {
        println!("cargo::rustc-link-arg-bin=perilune-engine={paths}");
    }
}
