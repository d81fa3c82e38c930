//! Tells the linker where the engine finds libtorch at run time.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_ENGINE").is_none() {
        return;
    }
    // Installed beside its libraries, or run from target/{debug,release} of a checkout.
    let mut places = vec!["$ORIGIN/../lib/perilune".to_owned(), "$ORIGIN/../../.libtorch/torch/lib".to_owned()];
    // A target folder elsewhere, and a LIBTORCH of the builder's own.
    if let Some(libtorch) = env::var_os("LIBTORCH") {
        let lib = PathBuf::from(libtorch).join("lib");
        places.push(lib.canonicalize().unwrap_or(lib).display().to_string());
    }
    let paths = format!("-Wl,-rpath,{}", places.join(":"));
    println!("cargo::rustc-link-arg-bin=perilune-engine={paths}");
    println!("cargo::rustc-link-arg-tests={paths}");
    println!("cargo::rustc-link-arg-benches={paths}");
}
