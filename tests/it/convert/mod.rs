//! Conversions and their cache, through the real program: what it says, what it makes, what it leaves.
//!
//! | what | where |
//! |---|---|
//! | JSON, words and exit codes | [`told`] |
//! | which tensors with which values | [`made`] |
//! | GGUF files of everything | [`blocks`] |
//! | what is used again, and whose a file is | [`lineage`] |
//! | killed, interrupted, two at once, sources that change | [`cut_off`] |
//! | disks, folders and files that are not as they should be | [`surroundings`] |
//! | copies elsewhere, and what comes back | [`backup`] |
//! | list, stats, check, verify, clean, purge | [`cache`] |

mod backup;
mod blocks;
mod cache;
mod cut_off;
mod lineage;
mod made;
mod surroundings;
mod told;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use serde_json::Value;

use crate::support::daemon::{Done, Home};
use crate::support::weights_file::write;

/// The model that comes with the program: 13.6 MB of fp16.
fn moonlet() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/moonlet/moonlet.safetensors")
}

/// Puts a copy of it among the checkpoints.
fn moon(home: &Home, name: &str) -> PathBuf {
    write(home.path(), &format!("models/checkpoints/{name}.safetensors"), &fs::read(moonlet()).unwrap())
}

/// Numbers that look like weights, the same for the same seed.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    // Four uniform numbers together are nearly normal.
    (0..count).map(|_| (next() + next() + next() + next()) * 0.05).collect()
}

/// A safetensors file of these tensors: name, type, shape, bytes.
fn stored(tensors: &[(String, &str, Vec<u64>, Vec<u8>)], metadata: &str) -> Vec<u8> {
    let mut json = format!("{{\"__metadata__\":{{{metadata}}}");
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        write!(json, ",\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}").unwrap();
        data.extend(bytes);
    }
    json.push('}');
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat()
}

/// A file of fp16 noise with these names and shapes.
fn halves(tensors: &[(String, Vec<u64>)], seed: u64) -> Vec<u8> {
    let tensor = |(at, (name, shape)): (usize, &(String, Vec<u64>))| {
        let count = shape.iter().product::<u64>() as usize;
        let bytes = noise(seed + at as u64, count).into_iter().flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
        (name.clone(), "F16", shape.clone(), bytes)
    };
    stored(&tensors.iter().enumerate().map(tensor).collect::<Vec<_>>(), "")
}

/// A network of nobody's family: ten layers of this width.
fn layers(width: u64) -> Vec<(String, Vec<u64>)> {
    let of = |n: u64| [(format!("blocks.{n}.lin.weight"), vec![width, width]), (format!("blocks.{n}.lin.bias"), vec![width])];
    (0..10).flat_map(of).collect()
}

/// Runs `perilune convert … --json` and returns its lines.
#[track_caller]
fn convert(home: &Home, source: &Path, words: &[&str]) -> Vec<Value> {
    lines(&run(home, source, words).ok())
}

fn run(home: &Home, source: &Path, words: &[&str]) -> Done {
    home.run(&[&["convert", &source.display().to_string(), "--json"], words].concat())
}

#[track_caller]
fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Converts to one precision and returns its line.
#[track_caller]
fn one(home: &Home, source: &Path, to: &str) -> Value {
    let mut lines = convert(home, source, &["--to", to]);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

fn output(line: &Value) -> PathBuf {
    PathBuf::from(line["output"].as_str().unwrap())
}

/// What lies in the folder about conversions beside `target`, by name.
fn about(target: &Path) -> Vec<String> {
    let entries = fs::read_dir(target.with_file_name(".perilune")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn beside(target: &Path, kind: &str) -> PathBuf {
    target.with_file_name(".perilune").join(format!("{}.{kind}", target.file_name().unwrap().display()))
}

/// The manifest without what another run has otherwise.
fn manifest(target: &Path) -> Value {
    let mut manifest: Value = serde_json::from_slice(&fs::read(beside(target, "json")).unwrap()).unwrap();
    for key in ["seconds", "made", "used", "hits"] {
        manifest[key] = Value::Null;
    }
    manifest
}

/// Everything about a conversion that must be the same whenever it is made.
fn whole(target: &Path) -> (blake3::Hash, Value, String) {
    let bytes = blake3::hash(&fs::read(target).unwrap());
    (bytes, manifest(target), fs::read_to_string(beside(target, "sums")).unwrap())
}

/// The tensors of a safetensors file: type, shape, bytes. The reference library reads it, and so accepts it.
fn tensors(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let of = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(of).collect()
}

fn halves_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn singles_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
