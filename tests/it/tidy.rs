//! The walls: what may import what, how long a file may be, and where dangerous words may stand.
//!
//! One crate gives no crate walls, so this test reads the source and is them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, its tests not counted.
const LINE_LIMIT: usize = 400;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

const L0: &[&str] = &["units"];
const L1: &[&str] = &[
    "weights",
    "formats",
    "quant",
    "kernels",
    "families",
    "placement",
    "sampling",
    "tokens",
    "prompt",
    "workflow",
    "jobs",
    "devices",
    "imagery",
    "theme",
    "profile",
    "wire",
];
const L2: &[&str] = &["config", "telemetry", "library", "gallery", "ledger", "cache", "conversion", "recording"];
const L3: &[&str] = &["client", "daemon", "engine"];

/// What each module may import, besides itself and `units`.
fn allowed(module: &str) -> Vec<&'static str> {
    let list: &[&str] = match module {
        "units" | "devices" | "sampling" | "tokens" | "prompt" | "imagery" | "theme" | "weights" | "logging" => &[],
        "formats" | "quant" => &["weights"],
        "families" => &["weights", "sampling"],
        "kernels" => &["quant", "weights"],
        "placement" => &["weights", "devices"],
        "profile" => &["placement", "devices", "sampling", "prompt", "weights", "quant"],
        "workflow" => &["weights", "quant", "families", "placement", "prompt", "sampling", "tokens"],
        "jobs" => &["workflow", "placement", "devices"],
        "wire" => &["jobs", "workflow", "placement", "devices", "families", "weights", "quant"],
        "conversion" => return [L1, &["library", "cache"]].concat(),
        m if L2.contains(&m) => return L1.to_vec(),
        "client" => return [L1, &["config"]].concat(),
        "daemon" => return [L1, L2, &["logging"]].concat(),
        "engine" => return [L1, &["library", "gallery", "cache", "logging"]].concat(),
        "tui" => return [L1, &["client", "config", "logging"]].concat(),
        "cli" => return [L1, L2, &["client", "daemon", "tui", "logging"]].concat(),
        other => panic!("src/{other} is in no layer: add it to tests/it/tidy.rs and to ARCHITECTURE.md"),
    };
    list.to_vec()
}

/// Words that may stand only under certain paths.
const FENCES: &[(&str, &[&str], &str)] = &[
    ("tch::", &["src/engine/", "src/bin/perilune-engine.rs"], "only the engine links libtorch"),
    ("cudarc::", &["src/engine/"], "only the engine talks to CUDA"),
    ("nvml_wrapper", &["src/telemetry/nvml.rs"], "only telemetry/nvml.rs talks to NVML"),
    ("rusqlite", &["src/ledger/"], "only the ledger knows SQLite"),
    ("object_store::", &["src/cache/store/bucket.rs", "src/cache/error.rs"], "only the bucket talks to a store over the network"),
    ("prometheus::", &["src/cli/exposition.rs"], "only the exposition knows what metrics are made of"),
    ("hyper::", &["src/cli/exporter.rs"], "only the exporter speaks HTTP"),
    ("flate2::", &["src/recording/"], "only recordings are compressed here"),
    ("sysinfo::", &["src/telemetry/"], "only telemetry reads the host"),
    (
        "tokio::",
        &["src/client/", "src/daemon/", "src/cli/", "src/tui/", "src/wire/asynchronous.rs", "src/cache/store/bucket.rs"],
        "async stays in L3 and L4, never in the engine; the one client of a store waits for itself",
    ),
    ("std::env::", &["src/config/", "src/bin/"], "only config and the binaries read the environment"),
    ("enable_raw_mode", &["src/tui/terminal/"], "only tui/terminal touches the real terminal"),
    ("Color::Rgb", &["src/tui/paint.rs", "src/tui/terminal/encode.rs", "src/theme/"], "colours have roles"),
    ("println!", &["src/cli/output.rs", "src/cli/report.rs"], "only cli/output.rs and cli/report.rs print"),
    ("eprint", &["src/cli/output.rs", "src/cli/report.rs"], "only cli/output.rs and cli/report.rs print"),
];

const UNSAFE_HOMES: &[&str] = &["src/library/mapped.rs", "src/kernels/", "src/daemon/engines/spawn.rs", "src/engine/"];

const BAD_NAMES: &[&str] = &["utils", "util", "helpers", "common", "misc", "imp"];

struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// The lines before `#[cfg(test)]`, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().take_while(|(_, l)| !l.starts_with("#[cfg(test)]")).map(|(i, l)| (i + 1, l))
    }

    fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let name = rest.split('/').next()?.trim_end_matches(".rs");
        (!matches!(name, "lib" | "bin")).then_some(name)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(under: &str) -> Vec<SourceFile> {
    let mut folders = vec![root().join(under)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                // What a build has left is not ours.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                files.push(SourceFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn imports(file: &SourceFile) -> Vec<String> {
    let Some(module) = file.module() else { return Vec::new() };
    let allowed = allowed(module);
    let mut problems = Vec::new();
    for (number, line) in file.code().filter(|(_, l)| !is_comment(l)) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            // `use crate::{a, b}` would need a parser; we write one line per module.
            if rest.starts_with('{') {
                problems.push(format!("{}:{number}: write one `use crate::…` per module", file.path));
                continue;
            }
            let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let fine = target == module || L0.contains(&target.as_str()) || allowed.contains(&target.as_str());
            if !fine && !target.is_empty() {
                problems.push(format!("{}:{number}: `{module}` must not import `{target}`", file.path));
            }
        }
    }
    problems
}

fn fences(file: &SourceFile) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in file.code().filter(|(_, l)| !is_comment(l)) {
        for (word, homes, reason) in FENCES {
            if stands_in(word, line) && !homes.iter().any(|h| file.path.starts_with(h)) {
                problems.push(format!("{}:{number}: `{word}` here: {reason}", file.path));
            }
        }
    }
    problems
}

/// Returns whether a line has this word, and not as the end of a longer one: `watch::` is not `tch::`.
fn stands_in(word: &str, line: &str) -> bool {
    let inside = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !inside(at))
}

fn length(file: &SourceFile) -> Vec<String> {
    let lines = file.code().count();
    let excused = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    if lines > LINE_LIMIT && !excused {
        vec![format!("{}: {lines} lines without tests, at most {LINE_LIMIT}", file.path)]
    } else {
        Vec::new()
    }
}

fn header(file: &SourceFile) -> Vec<String> {
    let first = file.text.lines().next().unwrap_or_default();
    let fine = first.starts_with("//!") || first.starts_with("#![doc");
    if fine { Vec::new() } else { vec![format!("{}:1: starts without `//!`", file.path)] }
}

fn name(file: &SourceFile) -> Vec<String> {
    let bad = file.path.split(['/', '.']).find(|part| BAD_NAMES.contains(part));
    bad.map(|part| format!("{}: `{part}` says nothing about what is inside", file.path)).into_iter().collect()
}

fn unsafe_notes(file: &SourceFile) -> Vec<String> {
    let mut problems = Vec::new();
    let lines: Vec<&str> = file.text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if is_comment(line) || line.trim_start().starts_with('#') || !words.clone().any(|w| w == "unsafe") {
            continue;
        }
        if !UNSAFE_HOMES.iter().any(|h| file.path.starts_with(h)) {
            problems.push(format!("{}:{}: `unsafe` outside {UNSAFE_HOMES:?}", file.path, i + 1));
        }
        let above = lines[i.saturating_sub(6)..=i].iter().any(|l| l.contains("SAFETY"));
        if !above {
            problems.push(format!("{}:{}: `unsafe` without a SAFETY note", file.path, i + 1));
        }
    }
    problems
}

type Rule = fn(&SourceFile) -> Vec<String>;

fn check(rule: Rule, files: &[SourceFile]) {
    let problems: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn modules_import_only_downwards() {
    check(imports, &rust_files("src"));
}

#[test]
fn dangerous_words_stand_only_at_home() {
    check(fences, &rust_files("src"));
}

#[test]
fn files_are_short() {
    check(length, &rust_files("src"));
}

#[test]
fn files_say_what_they_are() {
    check(header, &rust_files("src"));
    check(header, &rust_files("tests"));
}

#[test]
fn names_say_what_is_inside() {
    check(name, &rust_files("src"));
    check(name, &rust_files("tests"));
}

#[test]
fn unsafe_is_rare_and_explained() {
    check(unsafe_notes, &rust_files("src"));
}

/// A test file that no `mod` line names is never compiled, so it can never fail.
#[test]
fn every_test_file_is_declared() {
    for binary in ["tests/it", "tests/parity", "tests/references"] {
        if !root().join(binary).join("main.rs").exists() {
            continue;
        }
        let files = rust_files(binary);
        let declared: String = files.iter().map(|f| f.text.as_str()).collect();
        for file in &files {
            let stem = Path::new(&file.path).file_stem().unwrap().to_string_lossy();
            let stem = if stem == "mod" { Path::new(&file.path).parent().unwrap().file_name().unwrap().to_string_lossy() } else { stem };
            let own_binary = stem == "main" || fs::read_to_string(root().join("Cargo.toml")).unwrap().contains(&file.path);
            assert!(own_binary || declared.contains(&format!("mod {stem};")), "{} is declared nowhere", file.path);
        }
    }
}

/// A fuzz target that its manifest does not name is never built.
#[test]
fn every_fuzz_target_is_declared() {
    let manifest = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    for file in rust_files("tests/fuzz/targets") {
        let path = file.path.strip_prefix("tests/fuzz/").unwrap();
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{} is declared nowhere", file.path);
    }
}

/// Where the number of the protocol and the digest of its shapes lie, which change together.
const PROTOCOL_FILE: &str = "src/wire/PROTOCOL";

/// The shapes on the wire: code without comments, blank lines and tests. The number itself is no shape.
fn wire_digest(files: &[SourceFile]) -> u64 {
    let lines = files.iter().flat_map(SourceFile::code).map(|(_, l)| l.trim());
    let code = lines.filter(|l| !l.is_empty() && !is_comment(l) && !l.starts_with("pub const PROTOCOL"));
    // FNV-1a, as build.rs has it.
    let feed = |digest: u64, byte: u8| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    code.flat_map(|l| l.bytes().chain([b'\n'])).fold(0xcbf2_9ce4_8422_2325, feed)
}

/// Two builds that speak differently must not share a number.
#[test]
fn a_changed_wire_has_a_new_protocol_number() {
    let line = |number: u32, digest: u64| format!("{number} {digest:016x}");
    let digest = wire_digest(&rust_files("src/wire"));
    let kept = fs::read_to_string(root().join(PROTOCOL_FILE)).unwrap_or_default();
    let number = perilune::wire::PROTOCOL;
    let (old_number, old_digest) = kept.trim().split_once(' ').unwrap_or_default();
    let next = if old_digest == format!("{digest:016x}") { number } else { number.max(old_number.parse().unwrap_or(0) + 1) };
    assert!(
        kept.trim() == line(number, digest) && next == number,
        "src/wire has changed: raise PROTOCOL in src/wire/hello.rs to {next}, and write this line to {PROTOCOL_FILE}:\n{}",
        line(next, digest)
    );
}

#[test]
fn every_layer_has_its_folders_in_the_architecture_page() {
    let page = fs::read_to_string(root().join("src/ARCHITECTURE.md")).unwrap();
    for module in L0.iter().chain(L1).chain(L2).chain(L3) {
        assert!(page.contains(&format!("`{module}`")), "ARCHITECTURE.md does not name `{module}`");
    }
}

/// Each rule finds what it is for; a check that cannot fail is no check.
#[test]
fn the_rules_bite() {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let rules: BTreeMap<&str, (Rule, SourceFile)> = BTreeMap::from([
        ("import upwards", (imports as Rule, file("src/units/a.rs", "//! x\nuse crate::wire::Hello;\n"))),
        ("import sideways", (imports as _, file("src/ledger/a.rs", "//! x\nlet a = crate::gallery::save();\n"))),
        ("import in braces", (imports as _, file("src/cli/a.rs", "//! x\nuse crate::{wire, units};\n"))),
        ("tch outside", (fences as _, file("src/daemon/a.rs", "//! x\nuse tch::Tensor;\n"))),
        ("print", (fences as _, file("src/tui/a.rs", "//! x\nprintln!();\n"))),
        ("length", (length as _, file("src/a/b.rs", &"\n".repeat(401)))),
        ("no header", (header as _, file("src/a/b.rs", "use std;\n"))),
        ("bad name", (name as _, file("src/a/utils.rs", ""))),
        ("unsafe elsewhere", (unsafe_notes as _, file("src/tui/a.rs", "// SAFETY: none\nunsafe { f() }\n"))),
        ("unsafe unexplained", (unsafe_notes as _, file("src/engine/a.rs", "unsafe { f() }\n"))),
    ]);
    for (what, (rule, sample)) in &rules {
        assert_eq!(rule(sample).len(), 1, "{what}");
    }
    let wire = |text: &str| wire_digest(&[file("src/wire/a.rs", text)]);
    let shape = wire("//! x\nstruct A(u32);\n");
    assert_eq!(wire("//! y\n\n/// Says more.\nstruct A(u32);\n#[cfg(test)]\nmod tests {}\n"), shape, "comments and tests are no shapes");
    assert_ne!(wire("//! x\nstruct A(u64);\n"), shape);
    assert!(fences(&file("src/daemon/a.rs", "//! x\nuse tokio::sync::watch::Sender;\n")).is_empty());
    let fine = file("src/engine/a.rs", "//! x\nuse crate::wire::Hello;\n// SAFETY: the pointer is ours.\nunsafe { f() }\n");
    assert!(imports(&fine).is_empty() && unsafe_notes(&fine).is_empty());
}
